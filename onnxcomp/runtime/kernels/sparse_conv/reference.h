// Sparse convolution by its definition, on an unpacked weight, in double precision: what kernels are tested against.
#pragma once

#include <vector>

#include "kernels/sparse_conv/run.h"

namespace onnxcomp::sparse_conv {

struct Reference {
  std::vector<double> y;          // as Tensors::y
  std::vector<double> magnitude;  // sum of |weight x| + |bias| + |residual|: what rounding errors are proportional to
};

// `weight` is [output channels, channels of a group, taps]. `tensors.y` is not used.
Reference reference(const std::vector<float>& weight, const ConvShape& shape, const Finish& finish,
                    const Tensors& tensors);

}  // namespace onnxcomp::sparse_conv
