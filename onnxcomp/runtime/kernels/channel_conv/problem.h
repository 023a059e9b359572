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
  const testing::StoredBlocks stored(weight, kChannels, shape.channels * shape.taps);
  const int64_t block = choose_block(expected, work_of_blocks(shape, stored.bitmap().kept()));
  return Weight(pack_channel_blocks(stored.bitmap(), shape, block));
}

}  // namespace onnxcomp::channel_conv
