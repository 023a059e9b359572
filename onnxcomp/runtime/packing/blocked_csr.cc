#include "packing/blocked_csr.h"

#include <algorithm>
#include <numeric>

namespace onnxcomp {
namespace {

// Where an element of the weight goes, were rows in the order of their outputs.
struct Entry {
  int64_t row;
  uint16_t index;
};

Entry locate(const BlockedCsr& csr, int64_t element) {
  const WeightShape& s = csr.shape;
  const int64_t tap = element % s.taps;
  const int64_t channel = element / s.taps % s.channels;
  const int64_t output = element / s.taps / s.channels;
  return {
      csr.first_row(output / s.outputs, channel / csr.block) + output % s.outputs,
      static_cast<uint16_t>(channel % csr.block * s.taps + tap),
  };
}

// Fills `output`: longest rows first in each range of kSortedOutputs.
void sort_rows(BlockedCsr& csr, const std::vector<uint32_t>& length) {
  csr.output.resize(length.size());
  for (int64_t first = 0; first < static_cast<int64_t>(length.size()); first += csr.shape.outputs) {
    const auto begin = csr.output.begin() + first;
    std::iota(begin, begin + csr.shape.outputs, 0);
    for (int64_t range = 0; range < csr.shape.outputs; range += kSortedOutputs) {
      const int64_t end = std::min(range + kSortedOutputs, csr.shape.outputs);
      std::stable_sort(begin + range, begin + end,
                       [&](uint32_t a, uint32_t b) { return length[first + a] > length[first + b]; });
    }
  }
}

}  // namespace

int64_t largest_block(const WeightShape& shape) {
  return std::clamp<int64_t>((int64_t{1} << 16) / shape.taps, 1, shape.channels);
}

BlockedCsr pack_blocked_csr(const Bitmap& bitmap, const WeightShape& shape, int64_t block) {
  BlockedCsr csr{shape, block, (shape.channels + block - 1) / block, {}, {}, {}, {}};
  const int64_t rows = shape.groups * csr.blocks * shape.outputs;
  std::vector<uint32_t> length(rows);
  bitmap.for_each([&](int64_t element, int64_t) { ++length[locate(csr, element).row]; });
  sort_rows(csr, length);

  std::vector<uint32_t> next(rows);  // by row in the order of outputs: the place of its next entry
  csr.row_begin.reserve(rows + 1);
  uint32_t begin = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t unsorted = row - row % shape.outputs + csr.output[row];
    csr.row_begin.push_back(begin);
    next[unsorted] = begin;
    begin += length[unsorted];
  }
  csr.row_begin.push_back(begin);

  csr.index.resize(bitmap.count);
  csr.value.resize(bitmap.count);
  bitmap.for_each([&](int64_t element, int64_t index) {
    const Entry entry = locate(csr, element);
    const uint32_t place = next[entry.row]++;
    csr.index[place] = entry.index;
    csr.value[place] = bitmap.value(index);
  });
  return csr;
}

}  // namespace onnxcomp
