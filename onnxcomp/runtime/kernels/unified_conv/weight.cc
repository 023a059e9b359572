#include "kernels/unified_conv/weight.h"

#include <limits>

namespace onnxcomp::unified_conv {
namespace {

// The convolution as the weight's channels see it.
ConvShape with_sums(const ConvShape& shape, int64_t sums) {
  ConvShape summed = shape;
  if (sums != 0) summed.weight = shape_of_sums(shape.weight, sums);
  return summed;
}

struct Way {
  int64_t sums;
  int64_t entries;
};

Way fastest(const sparse_conv::Kernel& kernel, const ConvShape& expected, const EntryCounts& counts) {
  Way best = {0, counts.channels};
  // All sums of four channels have 16-bit indices.
  const bool fits = largest_block(with_sums(expected, kSignsAndChannels).weight) >= kSignsAndChannels;
  if (!counts.finite || !fits) return best;
  double least = std::numeric_limits<double>::infinity();
  for (const Way& way :
       {best, Way{kSigns, counts.signs}, Way{kSignsAndChannels, counts.signs_and_channels}}) {
    const double cycles =
        sparse_conv::predict_cycles(kernel, with_sums(expected, way.sums), {way.entries, 1, way.sums});
    if (cycles >= least) continue;
    least = cycles;
    best = way;
  }
  return best;
}

}  // namespace

BlockedCsr pack_weight(const sparse_conv::Kernel& kernel, const ConvShape& expected, const WeightRows& rows) {
  const Way way = fastest(kernel, expected, count_entries(rows, expected.weight));
  const OwnBitmap written(rows, expected.weight, way.sums);
  const ConvShape shape = with_sums(expected, way.sums);
  const int64_t block = sparse_conv::choose_block(kernel, shape, {written.bitmap().count, 1, way.sums});
  BlockedCsr weight =
      pack_blocked_csr({written.bitmap(), 1, shape.weight.channels * shape.weight.taps}, shape.weight, block);
  weight.sums = way.sums;
  return weight;
}

sparse_conv::Plan make_plan(const sparse_conv::Kernel& kernel, const ConvShape& shape, const BlockedCsr& weight) {
  return sparse_conv::make_plan(kernel, with_sums(shape, weight.sums), weight);
}

}  // namespace onnxcomp::unified_conv
