#include "kernels/sparse_gemm/dispatch.h"

#include "kernels/sparse_gemm/list.h"

namespace onnxcomp::sparse_gemm {

const Kernel& kernel_for(Isa isa) {
#define ONNXCOMP_RETURN(name) \
  if (isa >= Isa::name) return name##_kernel;
  ONNXCOMP_SPARSE_GEMM_KERNELS(ONNXCOMP_RETURN)
#undef ONNXCOMP_RETURN
  __builtin_unreachable();  // every Isa is at least portable
}

}  // namespace onnxcomp::sparse_gemm
