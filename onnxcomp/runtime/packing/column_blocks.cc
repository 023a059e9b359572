#include "packing/column_blocks.h"

#include <algorithm>
#include <numeric>

namespace onnxcomp {
namespace {

constexpr int64_t kBlock = ColumnBlocks::kBlock;

// [blocks * rows], rows in the order of the matrix.
std::vector<uint32_t> count_entries(const MatrixRows& matrix, const ColumnBlocks& packed) {
  std::vector<uint32_t> length(packed.blocks() * packed.rows);
  MatrixRows::Row row;
  for (int64_t r = 0; r < packed.rows; ++r) {
    matrix.read(r, row);
    for (const uint32_t column : row.column) ++length[column / kBlock * packed.rows + r];
  }
  return length;
}

// Fills `row`: the longest first in each range of kSorted.
void sort_rows(ColumnBlocks& packed, const std::vector<uint32_t>& length) {
  packed.row.resize(length.size());
  for (int64_t first = 0; first < static_cast<int64_t>(length.size()); first += packed.rows) {
    const auto begin = packed.row.begin() + first;
    std::iota(begin, begin + packed.rows, 0);
    for (int64_t range = 0; range < packed.rows; range += ColumnBlocks::kSorted) {
      const int64_t end = std::min(range + ColumnBlocks::kSorted, packed.rows);
      std::stable_sort(begin + range, begin + end,
                       [&](uint32_t a, uint32_t b) { return length[first + a] > length[first + b]; });
    }
  }
}

}  // namespace

ColumnBlocks pack_column_blocks(const MatrixRows& matrix) {
  ColumnBlocks packed{matrix.rows(), matrix.columns(), {}, {}, {}, {}};
  std::vector<uint32_t> next = count_entries(matrix, packed);  // lengths, then the place of each row's next entry
  sort_rows(packed, next);
  packed.row_begin.reserve(next.size() + 1);
  uint32_t begin = 0;
  for (size_t i = 0; i < packed.row.size(); ++i) {
    uint32_t& place = next[i / packed.rows * packed.rows + packed.row[i]];
    packed.row_begin.push_back(begin);
    begin += place;
    place = packed.row_begin.back();
  }
  packed.row_begin.push_back(begin);

  packed.index.resize(begin);
  packed.value.resize(begin);
  MatrixRows::Row row;
  for (int64_t r = 0; r < packed.rows; ++r) {
    matrix.read(r, row);
    for (size_t i = 0; i < row.column.size(); ++i) {
      const uint32_t place = next[row.column[i] / kBlock * packed.rows + r]++;
      packed.index[place] = static_cast<uint16_t>(row.column[i] % kBlock);
      packed.value[place] = row.value[i];
    }
  }
  return packed;
}

}  // namespace onnxcomp
