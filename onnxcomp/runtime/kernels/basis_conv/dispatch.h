// The kernel for an instruction set.
#pragma once

#include "cpu.h"
#include "kernels/basis_conv/contract.h"

namespace onnxcomp::basis_conv {

// The implementation for `isa`, which the CPU must have.
const Kernel& kernel_for(Isa isa);

}  // namespace onnxcomp::basis_conv
