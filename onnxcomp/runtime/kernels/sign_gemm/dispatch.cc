#include "kernels/sign_gemm/dispatch.h"

#include "kernels/sign_gemm/list.h"

namespace onnxcomp::sign_gemm {

const Kernel& kernel_for(Isa isa) {
#define ONNXCOMP_RETURN(name) \
  if (isa >= Isa::name) return name##_kernel;
  ONNXCOMP_SIGN_GEMM_KERNELS(ONNXCOMP_RETURN)
#undef ONNXCOMP_RETURN
  __builtin_unreachable();  // every Isa is at least portable
}

}  // namespace onnxcomp::sign_gemm
