// How one convolution with shared bases is cut up, and where its taps find their pixels.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/basis_conv/weight.h"
#include "kernels/sparse_conv/plan.h"

namespace onnxcomp::basis_conv {

// Where an output row is as long as an input row and the stride is 1, successive pixels of a map are successive pixels
// of X under every tap, all along the map: X is read where it lies, and only what is beyond its borders is masked.
// Otherwise `mask` is empty, and what the taps read of a tile is brought together first, tap by tap.
struct Plan {
  sparse_conv::Plan pointwise;  // of the maps
  std::vector<int64_t> offset;  // [taps] floats from an output pixel's place to what the tap reads, in X or in the tile
  std::vector<uint16_t> mask;   // [vectors of a map][taps] bit l: lane l's pixel lies inside X
};

Plan make_plan(const sparse_conv::Kernel& kernel, const ConvShape& shape, const Weight& weight);

}  // namespace onnxcomp::basis_conv
