#include "kernels/sparse_conv/dispatch.h"

#include "kernels/sparse_conv/list.h"

namespace onnxcomp::sparse_conv {

const Kernel& kernel_for(Isa isa) {
#define ONNXCOMP_RETURN(name) \
  if (isa >= Isa::name) return name##_kernel;
  ONNXCOMP_SPARSE_CONV_KERNELS(ONNXCOMP_RETURN)
#undef ONNXCOMP_RETURN
  __builtin_unreachable();  // every Isa is at least portable
}

}  // namespace onnxcomp::sparse_conv
