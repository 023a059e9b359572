// Every implementation, best first, portable last: declarations, dispatch, tests and benchmarks come from this list.
#pragma once

#include "kernels/sign_gemm/contract.h"

#if defined(__x86_64__)
#define ONNXCOMP_SIGN_GEMM_KERNELS(KERNEL) KERNEL(avx512) KERNEL(avx2) KERNEL(portable)
#else
#define ONNXCOMP_SIGN_GEMM_KERNELS(KERNEL) KERNEL(portable)
#endif

namespace onnxcomp::sign_gemm {

#define ONNXCOMP_DECLARE(isa) extern const Kernel isa##_kernel;
ONNXCOMP_SIGN_GEMM_KERNELS(ONNXCOMP_DECLARE)
#undef ONNXCOMP_DECLARE

}  // namespace onnxcomp::sign_gemm
