// A sparse convolution weight as the tile kernels read it: compressed rows by (group, input-channel block, output
// channel).
//
// The rows of a block do not stand in the order of their outputs: in every range of kSortedOutputs they stand by
// falling length, so that a loop over a row's entries mostly ends where the one before it did and the branch is
// predicted; a misprediction costs as much as ten entries. Ranges keep their place, so a range of outputs is a range of
// rows.
//
// Within a row, entries stand by rising input channel, then tap, so that a kernel walks its scratch forwards. An entry
// is 6 bytes: its value, and `channel in block * taps + tap`, which a table of the tile at hand turns into an address.
// So one packing serves every tile shape, layout and image size.
#pragma once

#include <cstdint>
#include <vector>

#include "packing/bitmap.h"

namespace onnxcomp {

struct WeightShape {
  int64_t groups;
  int64_t outputs;   // output channels of one group
  int64_t channels;  // input channels of one group
  int64_t taps;      // kernel height x width
};

constexpr int64_t kSortedOutputs = 32;

struct BlockedCsr {
  WeightShape shape;
  int64_t block;                    // input channels in a block; the last block of a group may have fewer
  int64_t blocks;                   // of a group
  std::vector<uint32_t> row_begin;  // [groups * blocks * outputs + 1]
  std::vector<uint32_t> output;     // [groups * blocks * outputs] the output channel of each row, within its group
  std::vector<uint16_t> index;      // [nonzeros]
  std::vector<float> value;         // [nonzeros]

  // The first row of (group, block); row_begin[r] to row_begin[r + 1] are the entries of row r.
  int64_t first_row(int64_t group, int64_t channel_block) const {
    return (group * blocks + channel_block) * shape.outputs;
  }
};

// The most input channels a block may have for 16-bit indices.
int64_t largest_block(const WeightShape& shape);

// Packs a checked bitmap of the weight in OIHW order; 1 <= block <= largest_block(shape).
BlockedCsr pack_blocked_csr(const Bitmap& bitmap, const WeightShape& shape, int64_t block);

}  // namespace onnxcomp
