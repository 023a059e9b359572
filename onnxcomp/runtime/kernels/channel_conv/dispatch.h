// The kernel for an instruction set.
#pragma once

#include "cpu.h"
#include "kernels/channel_conv/contract.h"

namespace onnxcomp::channel_conv {

// The implementation for `isa`, which the CPU must have; null where there is none.
const Kernel* kernel_for(Isa isa);

}  // namespace onnxcomp::channel_conv
