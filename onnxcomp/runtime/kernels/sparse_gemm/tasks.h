// How many tasks an execution is worth.
#pragma once

#include <algorithm>
#include <cstdint>

#include "cpu.h"

namespace onnxcomp::sparse_gemm {

inline int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A task of 100,000 multiply-adds takes some 20 us, and starting one less than 1 us. More tasks than processors even out
// what else the machine does.
inline int64_t tasks_for(double multiply_adds) {
  const int64_t processors = machine().processors;
  return processors == 1 ? 1 : static_cast<int64_t>(std::clamp(multiply_adds * 1e-5, 1.0, 4.0 * processors));
}

}  // namespace onnxcomp::sparse_gemm
