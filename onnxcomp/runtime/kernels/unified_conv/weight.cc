#include "kernels/unified_conv/weight.h"

namespace onnxcomp::unified_conv {
namespace {

// The convolution as the weight's channels see it.
ConvShape shape_of(const ConvShape& shape, bool sums) {
  ConvShape summed = shape;
  if (sums) summed.weight = shape_of_sums(shape.weight);
  return summed;
}

bool prefers_sums(const sparse_conv::Kernel& kernel, const ConvShape& expected, const EntryCounts& counts) {
  const ConvShape summed = shape_of(expected, true);
  // All sums of four channels need 16-bit indices.
  if (!counts.finite || largest_block(summed.weight) < kSums) return false;
  return sparse_conv::predict_cycles(kernel, summed, {counts.sums, 1, true}) <
         sparse_conv::predict_cycles(kernel, expected, {counts.channels, 1});
}

}  // namespace

BlockedCsr pack_weight(const sparse_conv::Kernel& kernel, const ConvShape& expected, const WeightRows& rows) {
  const bool sums = prefers_sums(kernel, expected, count_entries(rows, expected.weight));
  const OwnBitmap written(rows, expected.weight, sums);
  const Bitmap bitmap = written.bitmap();
  const ConvShape shape = shape_of(expected, sums);
  const int64_t block = sparse_conv::choose_block(kernel, shape, {bitmap.count, 1, sums});
  BlockedCsr weight = pack_blocked_csr({bitmap, 1, shape.weight.channels * shape.weight.taps}, shape.weight, block);
  weight.sums = sums;
  return weight;
}

sparse_conv::Plan make_plan(const sparse_conv::Kernel& kernel, const ConvShape& shape, const BlockedCsr& weight) {
  return sparse_conv::make_plan(kernel, shape_of(shape, weight.sums), weight);
}

}  // namespace onnxcomp::unified_conv
