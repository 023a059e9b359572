// How one convolution with shared bases is cut up, and where its taps find their pixels.
//
// Where an input row is `stride` times as long as an output row, successive pixels of a map are successive pixels under
// every tap, all along the map, in one *phase* of X: every stride-th row and column from one of the first on. A
// convolution of stride 1 has one phase, X itself, and reads it where it lies; otherwise the phases' rows that a tile
// needs are taken out of X first. What is beyond the borders is masked.
//
// In any other convolution, what each tap reads of a tile is brought together first, and nothing is masked.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/basis_conv/weight.h"
#include "kernels/sparse_conv/plan.h"

namespace onnxcomp::basis_conv {

// Its first row and column in X.
struct Phase {
  int64_t row;
  int64_t column;

  friend bool operator==(const Phase&, const Phase&) = default;
};

struct Plan {
  sparse_conv::Plan pointwise;   // of the maps
  std::vector<int64_t> offset;   // [taps] floats from an output pixel's place, in X or in what is taken out of it
  std::vector<uint16_t> mask;    // [vectors of a map][taps] bit l: lane l's pixel lies inside X; or empty
  std::vector<Phase> phase;      // to be taken out; rows of as many floats as the output's
  int64_t first_row;             // of a phase that a tile needs, relative to its first row
  int64_t phase_rows;            // that the largest tile needs

  bool in_place() const { return !mask.empty() && phase.empty(); }
};

Plan make_plan(const sparse_conv::Kernel& kernel, const ConvShape& shape, const Weight& weight);

}  // namespace onnxcomp::basis_conv
