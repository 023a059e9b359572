// The stored format and its packing: every nonzero arrives, once, where it belongs; what disagrees is refused.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "error.h"
#include "packing/bitmap.h"
#include "packing/block_bitmap.h"
#include "packing/blocked_csr.h"
#include "packing/channel_blocks.h"
#include "packing/channel_windows.h"
#include "packing/column_blocks.h"
#include "packing/lane_windows.h"
#include "packing/matrix_rows.h"
#include "testing.h"

namespace onnxcomp {
namespace {

using testing::expect;

void test_half_to_float() {
  struct {
    uint16_t half;
    float value;
  } const cases[] = {
      {0x0000, 0.0f},
      {0x3c00, 1.0f},
      {0xc000, -2.0f},
      {0x7bff, 65504.0f},
      {0x0400, 0x1p-14f},
      {0x0001, 0x1p-24f},
      {0x83ff, -0x3ffp-24f},
      {0x3555, 0x1.554p-2f},
      {0x7c00, std::numeric_limits<float>::infinity()},
      {0xfc00, -std::numeric_limits<float>::infinity()},
  };
  for (const auto& c : cases) {
    const float value = half_to_float(c.half);
    expect(value == c.value, "half %04x is %g, not %g", c.half, double{value}, double{c.value});
  }
  expect(std::bit_cast<uint32_t>(half_to_float(0x8000)) == 0x80000000u, "half 8000 is negative zero");
  expect(std::isnan(half_to_float(0x7e00)), "half 7e00 is not a number");
}

// The message of the refusal; empty where there is none.
std::string refusal(const Bitmap& bitmap) {
  try {
    bitmap.check();
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

void test_bitmap_check() {
  const uint8_t mask[] = {0b10100001, 0b00000101};
  const float values[5] = {};
  const auto bitmap = [&](int64_t bytes, int64_t count, int64_t elements) {
    return Bitmap{mask, bytes, values, false, count, elements};
  };
  expect(refusal(bitmap(2, 5, 11)).empty(), "a consistent bitmap is accepted");
  expect(refusal(bitmap(2, 5, 17)).find("needs 3") != std::string::npos, "a short mask is refused");
  expect(refusal(bitmap(2, 5, 10)).find("past") != std::string::npos, "a bit past the end is refused");
  expect(refusal(bitmap(2, 4, 11)).find("marks 5") != std::string::npos, "a missing value is refused");
}

// Undoes the packing.
std::vector<float> unpack(const BlockedCsr& csr) {
  const WeightShape& s = csr.shape;
  std::vector<float> weight(s.groups * s.outputs * s.channels * s.taps);
  for (int64_t g = 0; g < s.groups; ++g) {
    for (int64_t b = 0; b < csr.blocks; ++b) {
      for (int64_t v = 0; v < s.outputs; ++v) {
        const int64_t row = csr.first_row(g, b) + v / csr.height;
        const int64_t output = csr.output[row] * csr.height + v % csr.height;
        const int64_t base = ((g * s.outputs + output) * s.channels + b * csr.block) * s.taps;
        for (uint32_t i = csr.row_begin[row]; i < csr.row_begin[row + 1]; ++i)
          weight[base + csr.index[i]] += csr.value[i * csr.height + v % csr.height];
      }
    }
  }
  return weight;
}

// Within every range of outputs, rows stand by falling length and belong to the range.
bool rows_are_sorted(const BlockedCsr& csr) {
  const auto length = [&](size_t row) { return csr.row_begin[row + 1] - csr.row_begin[row]; };
  const int64_t range = kSortedOutputs / csr.height;
  for (size_t row = 0; row < csr.output.size(); ++row) {
    const int64_t position = static_cast<int64_t>(row) % csr.rows();
    if (csr.output[row] / range != position / range) return false;
    if (position % range != 0 && length(row) > length(row - 1)) return false;
  }
  return true;
}

void test_blocked_csr() {
  std::mt19937 random(1);
  struct {
    WeightShape shape;
    int64_t height;
  } const cases[] = {
      {{1, 5, 7, 9}, 1},  {{3, 2, 4, 1}, 1},  {{2, 8, 16, 25}, 1},  {{1, 100, 6, 3}, 1},
      {{1, 4, 7, 9}, 4},  {{3, 8, 4, 1}, 4},  {{2, 100, 16, 25}, 4}, {{1, 16, 6, 3}, 16},
      {{2, 48, 5, 9}, 16},
  };
  for (const auto& [shape, height] : cases) {
    for (const double density : {0.0, 0.1, 1.0}) {
      for (const int64_t block : {int64_t{1}, int64_t{3}, shape.channels}) {
        const int64_t columns = shape.channels * shape.taps;
        auto weight = testing::normal(random, shape.groups * shape.outputs * columns);
        testing::prune_blocks(weight, height, columns, density, random);
        const testing::StoredBlocks stored(weight, height, columns);
        const BlockedCsr csr = pack_blocked_csr(stored.bitmap(), shape, block);
        const Entries expected = entries_of(stored.bitmap());
        expect(csr.height == expected.height && csr.entries().count == expected.count, "entries are miscounted");
        expect(csr.height == std::min(height, kRowHeight), "rows have a height of %lld",
               static_cast<long long>(csr.height));
        expect(rows_are_sorted(csr), "rows of a range do not stand by falling length");
        expect(unpack(csr) == weight, "%lld groups, block %lld, height %lld, density %g: packing changed the weight",
               static_cast<long long>(shape.groups), static_cast<long long>(block), static_cast<long long>(height),
               density);
      }
    }
  }
}

// Undoes the packing.
std::vector<float> unpack(const ColumnBlocks& packed) {
  std::vector<float> weight(packed.rows * packed.columns);
  for (size_t r = 0; r < packed.row.size(); ++r) {
    const int64_t block = static_cast<int64_t>(r) / packed.rows;
    for (uint32_t i = packed.row_begin[r]; i < packed.row_begin[r + 1]; ++i)
      weight[packed.row[r] * packed.columns + block * ColumnBlocks::kBlock + packed.index[i]] += packed.value[i];
  }
  return weight;
}

std::vector<float> unpack(const LaneWindows& packed) {
  std::vector<float> weight(packed.rows * packed.columns);
  for (int64_t group = 0; group < packed.groups(); ++group) {
    int64_t entry = packed.entry_begin[group];
    for (uint32_t step = packed.step_begin[group]; step < packed.step_begin[group + 1]; ++step) {
      for (int64_t lane = 0; lane < LaneWindows::kLanes; ++lane) {
        if ((packed.mask[step] >> lane & 1) == 0) continue;
        const int64_t column = packed.window[step] * LaneWindows::kGrid + packed.offset[entry];
        expect(packed.offset[entry] < LaneWindows::kWindow, "an offset lies outside its window");
        weight[packed.row[group * LaneWindows::kLanes + lane] * packed.columns + column] += packed.value[entry++];
      }
    }
    expect(entry == packed.entry_begin[group + 1], "a group's steps do not use its entries up");
  }
  return weight;
}

void test_matrices() {
  std::mt19937 random(2);
  struct {
    int64_t rows, columns;
  } const shapes[] = {{1, 1}, {5, 7}, {16, 64}, {33, 100}, {70, 63}, {100, 1100}};
  for (const auto& [rows, columns] : shapes) {
    for (const double density : {0.0, 0.1, 1.0}) {
      const auto weight = testing::sparse_normal(random, rows * columns, density);
      const testing::PackedWeight packed(weight);
      const Bitmap bitmap = packed.bitmap();
      const MatrixRows matrix(bitmap, columns);
      expect(matrix.rows() == rows && matrix.nonzeros() == bitmap.count, "%d rows are counted wrongly",
             static_cast<int>(rows));
      expect(unpack(pack_column_blocks(matrix)) == weight, "%d x %d, density %g: column blocks change the weight",
             static_cast<int>(rows), static_cast<int>(columns), density);
      expect(unpack(pack_lane_windows(matrix)) == weight, "%d x %d, density %g: lane windows change the weight",
             static_cast<int>(rows), static_cast<int>(columns), density);
    }
  }
}

// A bitmap of blocks: `mask` of `blocks` bits, with the values 1, 2, 3, ... in the blocks that are kept.
struct StoredBlocks {
  StoredBlocks(std::vector<uint8_t> bits, int64_t blocks, int64_t count, int64_t height, int64_t columns)
      : mask(std::move(bits)), values(count) {
    for (int64_t i = 0; i < count; ++i) values[i] = static_cast<float>(i + 1);
    bitmap = {{mask.data(), static_cast<int64_t>(mask.size()), values.data(), false, count, blocks}, height, columns};
  }
  std::vector<uint8_t> mask;
  std::vector<float> values;
  BlockBitmap bitmap;
};

std::string refusal(const BlockBitmap& blocks) {
  try {
    blocks.check();
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

void test_block_bitmap() {
  // 2 rows of 3 blocks of 2 output channels; kept: (0, 1), (1, 0), (1, 2).
  const StoredBlocks stored({0b101010}, 6, 6, 2, 3);
  expect(refusal(stored.bitmap).empty(), "a consistent bitmap of blocks is accepted");
  expect(refusal(StoredBlocks({0b101010}, 6, 5, 2, 3).bitmap).find("do not divide") != std::string::npos,
         "half a block is refused");
  expect(refusal(StoredBlocks({0b101010}, 6, 8, 2, 3).bitmap).find("marks 3") != std::string::npos,
         "a block too many is refused");
  expect(refusal(StoredBlocks({0b1101010}, 6, 8, 2, 3).bitmap).find("past") != std::string::npos,
         "a block past the end is refused");
  std::vector<float> weight(12);
  stored.bitmap.for_each([&](int64_t row, int64_t column, int64_t index) {
    for (int64_t r = 0; r < 2; ++r) weight[(row * 2 + r) * 3 + column] = stored.bitmap.stored.value(index * 2 + r);
  });
  expect(weight == std::vector<float>{0, 1, 0, 0, 2, 0, 3, 0, 5, 4, 0, 6}, "blocks hold the wrong elements");
}

void test_channel_blocks() {
  // 2 groups of 16 outputs, 20 channels, 2 taps: a row of blocks each; kept: channels 0 and 17 of the first group, 19 of
  // the second.
  std::vector<uint8_t> mask(10);
  for (const int64_t block : {1, 34, 40 + 39}) mask[block / 8] |= static_cast<uint8_t>(1 << block % 8);
  const StoredBlocks stored(mask, 80, 48, 16, 40);
  const ChannelBlocks packed = pack_channel_blocks(stored.bitmap, {2, 16, 20, 2}, 1);
  expect(packed.blocks == 2 && packed.rows == 1, "wrong number of blocks or rows");
  expect(packed.begin == std::vector<uint32_t>{0, 1, 2, 2, 3}, "rows begin at the wrong entries");
  expect(packed.column == std::vector<uint32_t>{1, 34, 39, 0}, "entries have the wrong columns");
  for (int64_t i = 0; i < 48; ++i) expect(packed.value[i] == static_cast<float>(i + 1), "wrong value");
}

void test_channel_windows() {
  std::mt19937 random(2);
  const WeightShape shape{2, 18, 20, 3};
  const auto weight = testing::sparse_normal(random, shape.groups * shape.outputs * shape.channels * shape.taps, 0.2);
  const testing::PackedWeight stored(weight);
  const int64_t kept = most_in_window(stored.bitmap(), shape);
  const ChannelWindows packed = pack_channel_windows(stored.bitmap(), shape, kept);
  std::vector<float> unpacked(weight.size());
  for (int64_t o = 0; o < shape.groups * shape.outputs; ++o) {
    for (int64_t w = 0; w < packed.windows; ++w) {
      for (int64_t i = 0; i < shape.taps * kept; ++i) {
        const int64_t at = packed.first(o / shape.outputs, o % shape.outputs / kChannels, w) + i * kChannels +
                           o % shape.outputs % kChannels;
        const int64_t channel = w * kChannels + packed.place[at];
        unpacked[(o * shape.channels + channel) * shape.taps + i / kept] += packed.value[at];
      }
    }
  }
  expect(unpacked == weight, "packing windows changed the weight");
}

}  // namespace
}  // namespace onnxcomp

int main() {
  onnxcomp::test_half_to_float();
  onnxcomp::test_bitmap_check();
  onnxcomp::test_blocked_csr();
  onnxcomp::test_matrices();
  onnxcomp::test_block_bitmap();
  onnxcomp::test_channel_blocks();
  onnxcomp::test_channel_windows();
  return onnxcomp::testing::verdict();
}
