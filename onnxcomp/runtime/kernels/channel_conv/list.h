// Every implementation, best first: declarations, dispatch and tests come from this list. An instruction set without
// one runs these weights with sparse_conv.
#pragma once

#include "kernels/channel_conv/contract.h"

#if defined(__x86_64__)
#define ONNXCOMP_CHANNEL_CONV_KERNELS(KERNEL) KERNEL(avx512)
#else
#define ONNXCOMP_CHANNEL_CONV_KERNELS(KERNEL)
#endif

namespace onnxcomp::channel_conv {

#define ONNXCOMP_DECLARE(isa) extern const Kernel isa##_kernel;
ONNXCOMP_CHANNEL_CONV_KERNELS(ONNXCOMP_DECLARE)
#undef ONNXCOMP_DECLARE

}  // namespace onnxcomp::channel_conv
