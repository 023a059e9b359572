#include "kernels/unified_conv/weight.h"

namespace onnxcomp::unified_conv {
namespace {

// The convolution as the weight's channels see it.
ConvShape shape_of(const ConvShape& shape, bool sums) {
  ConvShape summed = shape;
  if (sums) summed.weight = shape_of_sums(shape.weight);
  return summed;
}

double predict(const sparse_conv::Kernel& kernel, const ConvShape& expected, const Entries& entries) {
  return sparse_conv::predict_cycles(kernel, shape_of(expected, entries.sums), entries);
}

Entries entries_for(const EntryCounts& counts, Writing writing) {
  switch (writing) {
    case Writing::weights:
      return {counts.weights, 1};
    case Writing::blocks:
      return {counts.blocks, kRowHeight};
    case Writing::sums:
      return {counts.sums, 1, true};
  }
  __builtin_unreachable();
}

}  // namespace

bool can_write(const WeightShape& shape, const EntryCounts& counts, Writing writing) {
  if (writing == Writing::blocks) return shape.outputs % kRowHeight == 0;
  // All sums of four channels need 16-bit indices.
  return writing == Writing::weights || (counts.finite && largest_block(shape_of_sums(shape)) >= kSums);
}

Writing choose_writing(const sparse_conv::Kernel& kernel, const ConvShape& expected, const EntryCounts& counts) {
  Writing best = Writing::weights;
  double least = predict(kernel, expected, entries_for(counts, best));
  for (const Writing writing : {Writing::blocks, Writing::sums}) {
    if (!can_write(expected.weight, counts, writing)) continue;
    const double cycles = predict(kernel, expected, entries_for(counts, writing));
    if (cycles >= least) continue;
    least = cycles;
    best = writing;
  }
  return best;
}

BlockedCsr pack_weight(const sparse_conv::Kernel& kernel, const ConvShape& expected, const WeightRows& rows,
                       Writing writing) {
  const WrittenWeight written(rows, expected.weight, writing);
  const bool sums = writing == Writing::sums;
  const ConvShape shape = shape_of(expected, sums);
  Entries entries = entries_of(written.blocks());
  entries.sums = sums;
  BlockedCsr weight =
      pack_blocked_csr(written.blocks(), shape.weight, sparse_conv::choose_block(kernel, shape, entries));
  weight.sums = sums;
  return weight;
}

sparse_conv::Plan make_plan(const sparse_conv::Kernel& kernel, const ConvShape& shape, const BlockedCsr& weight) {
  return sparse_conv::make_plan(kernel, shape_of(shape, weight.sums), weight);
}

}  // namespace onnxcomp::unified_conv
