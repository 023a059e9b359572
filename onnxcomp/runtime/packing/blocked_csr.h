// A sparse convolution weight as the tile kernels read it: compressed rows by (group, input-channel block, output
// channel).
//
// Where the weight is stored in blocks of output channels, a row stands for kRowHeight successive ones, and each of its
// entries holds a value for every one of them: their inputs are loaded once.
//
// The rows of a block do not stand in the order of their outputs: in every range of kSortedOutputs they stand by
// falling length, so that a loop over a row's entries mostly ends where the one before it did and the branch is
// predicted; a misprediction costs as much as ten entries. Ranges keep their place, so a range of outputs is a range of
// rows.
//
// Within a row, entries stand by rising input channel, then tap, so that a kernel walks its scratch forwards. An entry
// is its values, and 2 bytes: `channel in block * taps + tap`, which a table of the tile at hand turns into an address.
// So one packing serves every tile shape, layout and image size.
#pragma once

#include <cstdint>
#include <vector>

#include "packing/block_bitmap.h"

namespace onnxcomp {

struct WeightShape {
  int64_t groups;
  int64_t outputs;   // output channels of one group
  int64_t channels;  // input channels of one group
  int64_t taps;      // kernel height x width
};

constexpr int64_t kSortedOutputs = 32;
constexpr int64_t kRowHeight = 4;  // of rows that stand for more than one output channel

// How many entries there are in a weight, and how many values in each: 1 or kRowHeight. `sums` is BlockedCsr's.
struct Entries {
  int64_t count;
  int64_t height;
  bool sums = false;
};
// Of a weight that is still to be packed; its blocks have a height of 1 or a multiple of kRowHeight.
Entries entries_of(const BlockBitmap& weight);

struct BlockedCsr {
  WeightShape shape;
  int64_t height;                   // output channels of a row, 1 or kRowHeight; it divides the outputs of a group
  int64_t block;                    // input channels in a block; the last block of a group may have fewer
  int64_t blocks;                   // of a group
  std::vector<uint32_t> row_begin;  // [groups * blocks * rows + 1]
  std::vector<uint32_t> output;     // [groups * blocks * rows] the first output channel of each row / height, within
                                    // its group
  std::vector<uint16_t> index;      // [entries]
  std::vector<float> value;         // [entries][height]
  // The weight's channels are not the input's but sums of them, kSums for each kQuad of those (sign_sums.h). `block` is
  // then a multiple of kSums.
  bool sums = false;

  // Of a block.
  int64_t rows() const { return shape.outputs / height; }
  // The first row of (group, block); row_begin[r] to row_begin[r + 1] are the entries of row r.
  int64_t first_row(int64_t group, int64_t channel_block) const { return (group * blocks + channel_block) * rows(); }
  Entries entries() const { return {static_cast<int64_t>(index.size()), height, sums}; }
};

// The most input channels a block may have for 16-bit indices.
int64_t largest_block(const WeightShape& shape);

// Packs a checked weight whose blocks are as `entries_of` wants them and divide the outputs of a group; a bitmap of
// single elements is one of blocks of height 1. 1 <= block <= largest_block(shape).
BlockedCsr pack_blocked_csr(const BlockBitmap& weight, const WeightShape& shape, int64_t block);

}  // namespace onnxcomp
