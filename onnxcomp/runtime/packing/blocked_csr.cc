#include "packing/blocked_csr.h"

#include <algorithm>

namespace onnxcomp {
namespace {

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
      csr.row(output / s.outputs, channel / csr.block, output % s.outputs),
      static_cast<uint16_t>(channel % csr.block * s.taps + tap),
  };
}

}  // namespace

int64_t largest_block(const WeightShape& shape) {
  return std::clamp<int64_t>((int64_t{1} << 16) / shape.taps, 1, shape.channels);
}

BlockedCsr pack_blocked_csr(const Bitmap& bitmap, const WeightShape& shape, int64_t block) {
  BlockedCsr csr{shape, block, (shape.channels + block - 1) / block, {}, {}, {}};
  const int64_t rows = shape.groups * csr.blocks * shape.outputs;
  csr.row_begin.assign(rows + 1, 0);
  csr.index.resize(bitmap.count);
  csr.value.resize(bitmap.count);

  bitmap.for_each([&](int64_t element, int64_t) { ++csr.row_begin[locate(csr, element).row + 1]; });
  for (int64_t row = 0; row < rows; ++row) csr.row_begin[row + 1] += csr.row_begin[row];

  std::vector<uint32_t> next(csr.row_begin.begin(), csr.row_begin.end() - 1);
  bitmap.for_each([&](int64_t element, int64_t index) {
    const Entry entry = locate(csr, element);
    const uint32_t place = next[entry.row]++;
    csr.index[place] = entry.index;
    csr.value[place] = bitmap.value(index);
  });
  return csr;
}

}  // namespace onnxcomp
