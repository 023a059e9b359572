#include "packing/blocked_csr.h"

#include <algorithm>
#include <numeric>

namespace onnxcomp {
namespace {

int64_t row_height(const BlockBitmap& weight) { return std::min(weight.height, kRowHeight); }

// Calls visit(row, index, first value) for each entry, were rows in the order of their outputs.
template <class Visit>
void for_each_entry(const BlockedCsr& csr, const BlockBitmap& weight, Visit visit) {
  const WeightShape& s = csr.shape;
  weight.for_each([&](int64_t block_row, int64_t column, int64_t stored) {
    const int64_t channel = column / s.taps;
    const int64_t output = block_row * weight.height;
    const int64_t row = csr.first_row(output / s.outputs, channel / csr.block) + output % s.outputs / csr.height;
    const auto index = static_cast<uint16_t>(column - channel / csr.block * csr.block * s.taps);
    for (int64_t first = 0; first < weight.height; first += csr.height)
      visit(row + first / csr.height, index, stored * weight.height + first);
  });
}

// Fills `output`: longest rows first in each range of kSortedOutputs.
void sort_rows(BlockedCsr& csr, const std::vector<uint32_t>& length) {
  csr.output.resize(length.size());
  for (int64_t first = 0; first < static_cast<int64_t>(length.size()); first += csr.rows()) {
    const auto begin = csr.output.begin() + first;
    std::iota(begin, begin + csr.rows(), 0);
    for (int64_t range = 0; range < csr.rows(); range += kSortedOutputs / csr.height) {
      const int64_t end = std::min(range + kSortedOutputs / csr.height, csr.rows());
      std::stable_sort(begin + range, begin + end,
                       [&](uint32_t a, uint32_t b) { return length[first + a] > length[first + b]; });
    }
  }
}

}  // namespace

Entries entries_of(const BlockBitmap& weight) {
  const int64_t height = row_height(weight);
  return {weight.stored.count / height, height};
}

int64_t largest_block(const WeightShape& shape) {
  return std::clamp<int64_t>((int64_t{1} << 16) / shape.taps, 1, shape.channels);
}

BlockedCsr pack_blocked_csr(const BlockBitmap& weight, const WeightShape& shape, int64_t block) {
  BlockedCsr csr{shape, row_height(weight), block, (shape.channels + block - 1) / block, {}, {}, {}, {}, false};
  const int64_t rows = shape.groups * csr.blocks * csr.rows();
  std::vector<uint32_t> length(rows);
  for_each_entry(csr, weight, [&](int64_t row, uint16_t, int64_t) { ++length[row]; });
  sort_rows(csr, length);

  std::vector<uint32_t> next(rows);  // by row in the order of outputs: the place of its next entry
  csr.row_begin.reserve(rows + 1);
  uint32_t begin = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t unsorted = row - row % csr.rows() + csr.output[row];
    csr.row_begin.push_back(begin);
    next[unsorted] = begin;
    begin += length[unsorted];
  }
  csr.row_begin.push_back(begin);

  csr.index.resize(begin);
  csr.value.resize(weight.stored.count);
  for_each_entry(csr, weight, [&](int64_t row, uint16_t index, int64_t first) {
    const uint32_t place = next[row]++;
    csr.index[place] = index;
    for (int64_t v = 0; v < csr.height; ++v) csr.value[place * csr.height + v] = weight.stored.value(first + v);
  });
  return csr;
}

}  // namespace onnxcomp
