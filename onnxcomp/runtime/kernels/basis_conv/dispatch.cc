#include "kernels/basis_conv/dispatch.h"

#include "kernels/basis_conv/list.h"

namespace onnxcomp::basis_conv {

const Kernel& kernel_for(Isa isa) {
#define ONNXCOMP_RETURN(name) \
  if (isa >= Isa::name) return name##_kernel;
  ONNXCOMP_BASIS_CONV_KERNELS(ONNXCOMP_RETURN)
#undef ONNXCOMP_RETURN
  __builtin_unreachable();  // every Isa is at least portable
}

}  // namespace onnxcomp::basis_conv
