// Every implementation, best first, portable last: declarations, dispatch, tests and benchmarks come from this list.
#pragma once

#include "kernels/basis_conv/contract.h"

#if defined(__x86_64__)
#define ONNXCOMP_BASIS_CONV_KERNELS(KERNEL) KERNEL(avx512) KERNEL(avx2) KERNEL(portable)
#else
#define ONNXCOMP_BASIS_CONV_KERNELS(KERNEL) KERNEL(portable)
#endif

namespace onnxcomp::basis_conv {

#define ONNXCOMP_DECLARE(isa) extern const Kernel isa##_kernel;
ONNXCOMP_BASIS_CONV_KERNELS(ONNXCOMP_DECLARE)
#undef ONNXCOMP_DECLARE

}  // namespace onnxcomp::basis_conv
