#include "kernels/channel_conv/dispatch.h"

#include "kernels/channel_conv/list.h"

namespace onnxcomp::channel_conv {

const Kernel* kernel_for([[maybe_unused]] Isa isa) {
#define ONNXCOMP_RETURN(name) \
  if (isa >= Isa::name) return &name##_kernel;
  ONNXCOMP_CHANNEL_CONV_KERNELS(ONNXCOMP_RETURN)
#undef ONNXCOMP_RETURN
  return nullptr;
}

}  // namespace onnxcomp::channel_conv
