// Conv's attributes and what they make of a shape.
#pragma once

#include <cstdint>
#include <vector>

#include "ops/attributes.h"

namespace onnxcomp {

// The attribute weight_shape, not checked. Throws Error where it is missing.
std::vector<int64_t> read_weight_shape(const Attributes& attributes);

enum class AutoPad { notset, same_upper, same_lower, valid };

// Along one spatial axis. Every value lies in [0, 2^31) or, where it divides, [1, 2^31), so that products of two fit.
struct ConvAxis {
  int64_t kernel;
  int64_t stride;
  int64_t dilation;
  int64_t pad_begin;
  int64_t pad_end;

  int64_t extent() const { return (kernel - 1) * dilation + 1; }  // of the dilated kernel
};

struct ConvAttributes {
  std::vector<int64_t> weight_shape;  // [C_out, C_in / group, (kh,) kw]
  std::vector<ConvAxis> axes;         // one or two, as the weight has
  int64_t group;
  AutoPad auto_pad;

  // Reads and checks every attribute that Conv has, for a weight of that shape. Throws Error naming what is wrong.
  static ConvAttributes read(const Attributes& attributes, std::vector<int64_t> weight_shape);

  // Padding before the first element (negative: elements skipped) and the number of outputs, for `size` inputs along
  // `axis`. Throws Error where the padded input is smaller than the kernel.
  struct Extent {
    int64_t pad_begin;
    int64_t outputs;
  };
  Extent extent(size_t axis, int64_t size) const;
};

}  // namespace onnxcomp
