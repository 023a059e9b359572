#include "packing/channel_blocks.h"

namespace onnxcomp {

ChannelBlocks pack_channel_blocks(const BlockBitmap& stored, const WeightShape& shape, int64_t block) {
  ChannelBlocks packed{shape, block, 0, shape.outputs / kChannels, {}, {}, {}};
  packed.blocks = (packed.windows() + block - 1) / block;
  const auto row_of = [&](int64_t block_row, int64_t column) {
    const int64_t window = column / shape.taps / kChannels;
    return packed.row(block_row / packed.rows, window / block, block_row % packed.rows);
  };
  packed.begin.assign(shape.groups * packed.blocks * packed.rows + 1, 0);
  stored.for_each([&](int64_t row, int64_t column, int64_t) { ++packed.begin[row_of(row, column) + 1]; });
  for (size_t row = 1; row < packed.begin.size(); ++row) packed.begin[row] += packed.begin[row - 1];

  std::vector<uint32_t> next(packed.begin.begin(), packed.begin.end() - 1);
  packed.column.resize(packed.entries() + 1);
  packed.value.resize(stored.stored.count);
  stored.for_each([&](int64_t row, int64_t column, int64_t index) {
    const uint32_t place = next[row_of(row, column)]++;
    packed.column[place] = static_cast<uint32_t>(column);
    for (int64_t r = 0; r < kChannels; ++r)
      packed.value[place * kChannels + r] = stored.stored.value(index * kChannels + r);
  });
  return packed;
}

}  // namespace onnxcomp
