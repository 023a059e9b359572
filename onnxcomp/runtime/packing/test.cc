// The stored format and its packing: every nonzero arrives, once, where it belongs; what disagrees is refused.
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "error.h"
#include "packing/bitmap.h"
#include "packing/blocked_csr.h"
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
      for (int64_t o = 0; o < s.outputs; ++o) {
        const int64_t row = csr.first_row(g, b) + o;
        const int64_t base = ((g * s.outputs + csr.output[row]) * s.channels + b * csr.block) * s.taps;
        for (uint32_t i = csr.row_begin[row]; i < csr.row_begin[row + 1]; ++i)
          weight[base + csr.index[i]] += csr.value[i];
      }
    }
  }
  return weight;
}

// Within every range of outputs, rows stand by falling length and belong to the range.
bool rows_are_sorted(const BlockedCsr& csr) {
  const auto length = [&](size_t row) { return csr.row_begin[row + 1] - csr.row_begin[row]; };
  for (size_t row = 0; row < csr.output.size(); ++row) {
    const int64_t position = static_cast<int64_t>(row) % csr.shape.outputs;
    if (csr.output[row] / kSortedOutputs != position / kSortedOutputs) return false;
    if (position % kSortedOutputs != 0 && length(row) > length(row - 1)) return false;
  }
  return true;
}

void test_blocked_csr() {
  std::mt19937 random(1);
  for (const WeightShape& shape :
       {WeightShape{1, 5, 7, 9}, WeightShape{3, 2, 4, 1}, WeightShape{2, 8, 16, 25}, WeightShape{1, 100, 6, 3}}) {
    for (const double density : {0.0, 0.1, 1.0}) {
      for (const int64_t block : {int64_t{1}, int64_t{3}, shape.channels}) {
        const auto weight =
            testing::sparse_normal(random, shape.groups * shape.outputs * shape.channels * shape.taps, density);
        const testing::PackedWeight packed(weight);
        const BlockedCsr csr = pack_blocked_csr(packed.bitmap(), shape, block);
        expect(rows_are_sorted(csr), "rows of a range do not stand by falling length");
        expect(unpack(csr) == weight, "%lld groups, block %lld, density %g: packing changed the weight",
               static_cast<long long>(shape.groups), static_cast<long long>(block), density);
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

}  // namespace
}  // namespace onnxcomp

int main() {
  onnxcomp::test_half_to_float();
  onnxcomp::test_bitmap_check();
  onnxcomp::test_blocked_csr();
  onnxcomp::test_matrices();
  return onnxcomp::testing::verdict();
}
