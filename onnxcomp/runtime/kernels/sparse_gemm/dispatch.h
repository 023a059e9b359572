// The kernel for an instruction set.
#pragma once

#include "cpu.h"
#include "kernels/sparse_gemm/contract.h"

namespace onnxcomp::sparse_gemm {

// The implementation for `isa`, which the CPU must have.
const Kernel& kernel_for(Isa isa);

}  // namespace onnxcomp::sparse_gemm
