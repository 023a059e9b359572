// One sparse convolution, as sizes. A 1-D convolution is a 2-D one of height 1.
#pragma once

#include <cstdint>

#include "packing/blocked_csr.h"

namespace onnxcomp::sparse_conv {

// Along one spatial axis, in elements.
struct AxisShape {
  int64_t input;
  int64_t output;
  int64_t kernel;
  int64_t stride;
  int64_t dilation;
  int64_t pad;  // before the first input, negative where inputs are skipped; `output` implies what follows the last
};

struct ConvShape {
  int64_t batch;
  WeightShape weight;
  AxisShape y;
  AxisShape x;

  int64_t input_plane() const { return y.input * x.input; }
  int64_t output_plane() const { return y.output * x.output; }
  int64_t input_channels() const { return weight.groups * weight.channels; }
  int64_t output_channels() const { return weight.groups * weight.outputs; }
  // Output (y, x) is a function of input (y, x) alone, so a map is one long row of pixels.
  bool pointwise() const { return is_pointwise(y) && is_pointwise(x); }
  // Every output pixel is a function of one input pixel, and none of the padding.
  bool single_pixel() const {
    return y.kernel == 1 && x.kernel == 1 && y.pad == 0 && x.pad == 0 && covers(y) && covers(x);
  }

 private:
  static bool covers(const AxisShape& a) { return (a.output - 1) * a.stride < a.input; }
  static bool is_pointwise(const AxisShape& a) {
    return a.kernel == 1 && a.stride == 1 && a.pad == 0 && a.input == a.output;
  }
};

}  // namespace onnxcomp::sparse_conv
