// A weight in blocks of 16 output channels as the kernels of channel_conv read it: compressed rows by (group, block of
// input channels, row of 16 output channels), an entry being 16 values and the input channel and tap they belong to.
//
// Within a row, entries stand by rising input channel, then tap.
#pragma once

#include <cstdint>
#include <vector>

#include "packing/aligned.h"
#include "packing/block_bitmap.h"
#include "packing/blocked_csr.h"

namespace onnxcomp {

constexpr int64_t kChannels = 16;  // to a vector of output channels, and to a window of input channels

struct ChannelBlocks {
  WeightShape shape;
  int64_t block;                 // windows of input channels to a block; the last may have fewer
  int64_t blocks;                // of a group
  int64_t rows;                  // of a group
  std::vector<uint32_t> begin;   // [groups * blocks * rows + 1] first entry of a row
  std::vector<uint32_t> column;  // [entries + 1] input channel of the group * taps + tap; kernels load one ahead
  AlignedVector<float> value;    // [entries][16]

  int64_t entries() const { return begin.back(); }
  int64_t windows() const { return (shape.channels + kChannels - 1) / kChannels; }
  int64_t row(int64_t group, int64_t channel_block, int64_t output_row) const {
    return (group * blocks + channel_block) * rows + output_row;
  }
};

// Packs a checked bitmap of blocks of 16; 16 divides shape.outputs.
ChannelBlocks pack_channel_blocks(const BlockBitmap& stored, const WeightShape& shape, int64_t block);

}  // namespace onnxcomp
