// The kernel for an instruction set.
#pragma once

#include "cpu.h"
#include "kernels/sign_gemm/contract.h"

namespace onnxcomp::sign_gemm {

// The implementation for `isa`, which the CPU must have.
const Kernel& kernel_for(Isa isa);

}  // namespace onnxcomp::sign_gemm
