#include "kernels/basis_conv/weight.h"

#include <algorithm>

#include "kernels/sparse_conv/plan.h"

namespace onnxcomp::basis_conv {

ConvShape shape_of_maps(const ConvShape& shape, int64_t bases) {
  const WeightShape& w = shape.weight;
  const auto pixels = [](int64_t count) { return sparse_conv::AxisShape{count, count, 1, 1, 1, 0}; };
  return {shape.batch, {w.groups, w.outputs, w.channels * bases, 1}, pixels(shape.y.output), pixels(shape.x.output)};
}

Weight pack_weight(const sparse_conv::Kernel& kernel, const ConvShape& expected, const StoredWeight& stored) {
  Weight weight{stored.bases, {}, {}};
  const int64_t taps = expected.weight.taps;
  for (int64_t tap = 0; tap < taps; ++tap) {
    for (int64_t b = 0; b < stored.bases; ++b) weight.base.push_back(stored.base[b * taps + tap]);
  }
  const ConvShape maps = shape_of_maps(expected, stored.bases);
  const BlockBitmap coefficients = {stored.coefficients, 1, maps.weight.channels};
  const int64_t block = sparse_conv::choose_block(kernel, maps, entries_of(coefficients));
  const int64_t channels = std::max<int64_t>(block / stored.bases, 1);
  weight.coefficients = pack_blocked_csr(coefficients, maps.weight, channels * stored.bases);
  return weight;
}

}  // namespace onnxcomp::basis_conv
