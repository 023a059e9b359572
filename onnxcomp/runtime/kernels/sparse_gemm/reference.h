// A fully connected layer by its definition, on an unpacked weight, in double precision: what kernels are tested
// against.
#pragma once

#include <vector>

#include "kernels/sparse_gemm/run.h"

namespace onnxcomp::sparse_gemm {

struct Reference {
  std::vector<double> y;          // as Tensors::y
  std::vector<double> magnitude;  // sum of |weight x| + |bias|: what rounding errors are proportional to
};

// `weight` is [outputs, columns]. `tensors.y` is not used. The last stage is the caller's.
Reference reference(const std::vector<float>& weight, int64_t outputs, int64_t columns, const Tensors& tensors);

}  // namespace onnxcomp::sparse_gemm
