// A weight that keeps at most n of every 16 consecutive input channels (a window), at each output channel and tap, as
// the kernels of channel_conv read it: for 16 output channels at a time, n vectors of values and the places in the
// window that they belong to. Where a window keeps fewer than n, zeros at place 0 fill it up; so do output channels
// past a group's last.
#pragma once

#include <cstdint>

#include "packing/aligned.h"
#include "packing/bitmap.h"
#include "packing/blocked_csr.h"
#include "packing/channel_blocks.h"

namespace onnxcomp {

struct ChannelWindows {
  WeightShape shape;
  int64_t kept;  // n
  int64_t rows;  // of 16 output channels, of a group
  int64_t windows;
  AlignedVector<float> value;    // [groups][rows][windows][taps][n][16]
  AlignedVector<uint8_t> place;  // the same: 0 to 15; and 16 more, as kernels load them ahead

  // Index of the first value.
  int64_t first(int64_t group, int64_t row, int64_t window) const {
    return ((group * rows + row) * windows + window) * shape.taps * kept * kChannels;
  }
};

// The most values any window of the checked bitmap keeps at an output channel and tap.
int64_t most_in_window(const Bitmap& bitmap, const WeightShape& shape);

// Packs a checked bitmap whose windows keep at most `kept` each.
ChannelWindows pack_channel_windows(const Bitmap& bitmap, const WeightShape& shape, int64_t kept);

}  // namespace onnxcomp
