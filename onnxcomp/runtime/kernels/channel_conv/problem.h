// Structured weights with random data, for the test and the benchmark, run through the production packers and planner.
#pragma once

#include <algorithm>
#include <numeric>
#include <optional>

#include "kernels/channel_conv/run.h"
#include "kernels/sparse_conv/dispatch.h"
#include "kernels/sparse_conv/problem.h"

namespace onnxcomp::channel_conv {

using sparse_conv::Data;
using sparse_conv::Problem;

// A block bitmap made from a dense weight, and the memory it points to.
class StoredBlocks {
 public:
  StoredBlocks(const std::vector<float>& weight, int64_t height, int64_t columns) {
    const int64_t rows = static_cast<int64_t>(weight.size()) / columns / height;
    mask_.resize((rows * columns + 7) / 8);
    for (int64_t block = 0; block < rows * columns; ++block) {
      const float* first = weight.data() + block / columns * height * columns + block % columns;
      bool kept = false;
      for (int64_t r = 0; r < height; ++r) kept = kept || first[r * columns] != 0;
      if (!kept) continue;
      mask_[block / 8] |= static_cast<uint8_t>(1u << block % 8);
      for (int64_t r = 0; r < height; ++r) values_.push_back(first[r * columns]);
    }
    bitmap_ = {{mask_.data(), static_cast<int64_t>(mask_.size()), values_.data(), false,
                static_cast<int64_t>(values_.size()), rows * columns},
               height,
               columns};
  }
  StoredBlocks(const StoredBlocks&) = delete;
  const BlockBitmap& bitmap() const { return bitmap_; }

 private:
  std::vector<uint8_t> mask_;
  std::vector<float> values_;
  BlockBitmap bitmap_;
};

// Sets all but a share `density` of the blocks of `height` output channels to zero.
inline void prune_blocks(std::vector<float>& weight, int64_t height, int64_t columns, double density,
                         std::mt19937& random) {
  std::bernoulli_distribution keep(density);
  for (int64_t row = 0; row < static_cast<int64_t>(weight.size()) / columns / height; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      if (keep(random)) continue;
      for (int64_t r = 0; r < height; ++r) weight[(row * height + r) * columns + column] = 0;
    }
  }
}

// Sets all but `kept` of every 16 input channels to zero, at each output channel and tap.
inline void prune_windows(std::vector<float>& weight, const WeightShape& shape, int64_t kept, std::mt19937& random) {
  for (int64_t output = 0; output < shape.groups * shape.outputs; ++output) {
    for (int64_t first = 0; first < shape.channels; first += kChannels) {
      for (int64_t tap = 0; tap < shape.taps; ++tap) {
        std::vector<int64_t> channels(std::min(kChannels, shape.channels - first));
        std::iota(channels.begin(), channels.end(), first);
        std::shuffle(channels.begin(), channels.end(), random);
        for (size_t i = kept; i < channels.size(); ++i)
          weight[(output * shape.channels + channels[i]) * shape.taps + tap] = 0;
      }
    }
  }
}

// `weight` packed as when a session is created for the shape `expected`: in windows that keep `kept`, or in blocks.
inline Weight pack(const std::vector<float>& weight, const ConvShape& expected, std::optional<int64_t> kept) {
  const WeightShape& shape = expected.weight;
  if (kept) return Weight(pack_channel_windows(testing::PackedWeight(weight).bitmap(), shape, *kept));
  const StoredBlocks stored(weight, kChannels, shape.channels * shape.taps);
  const int64_t block = choose_block(expected, work_of_blocks(shape, stored.bitmap().kept()));
  return Weight(pack_channel_blocks(stored.bitmap(), shape, block));
}

}  // namespace onnxcomp::channel_conv
