// Weights of four input channels that share a magnitude are one product with a sum of the four: m (x0 - x1 + x2 + x3).
//
// A weight is rewritten as a sparse one of other channels: of each four successive input channels of a group (zeros
// where there are fewer), the eight sums under every pattern of signs whose first is +, in the order of SignSums, and,
// in some weights, before them the four themselves. At one output channel and tap, four weights of one magnitude are
// then one entry. Those of two magnitudes a > b >= 0 are two: with s the signs of all and t the signs with those of the
// smaller ones turned, a and b are (a + b) / 2 s + (a - b) / 2 t. Any others are themselves, or, where there are no
// channels but sums, their products with four patterns that are orthogonal.
#pragma once

#include <cstdint>
#include <vector>

#include "packing/bitmap.h"
#include "packing/blocked_csr.h"

namespace onnxcomp {

constexpr int64_t kQuad = 4;    // input channels that are summed
constexpr int64_t kSigns = 8;   // patterns
constexpr int64_t kSignsAndChannels = kSigns + kQuad;

// A weight's output channels, one by one.
class WeightRows {
 public:
  virtual ~WeightRows() = default;
  // Writes weights [channels of a group][taps] of an output channel.
  virtual void decode(int64_t output, float* row) const = 0;
};

// The shape of a weight rewritten with `sums` channels, kSigns or kSignsAndChannels, to each four.
WeightShape shape_of_sums(const WeightShape& shape, int64_t sums);

// Entries that a weight has under each way to write it.
struct EntryCounts {
  int64_t channels;            // as it is
  int64_t signs;               // kSigns
  int64_t signs_and_channels;  // kSignsAndChannels
  bool finite;                 // all of its weights: sums of other than finite products are no longer what they were
};
EntryCounts count_entries(const WeightRows& rows, const WeightShape& shape);

// A weight's bitmap with the memory it points to.
class OwnBitmap {
 public:
  // `sums`: 0 for the weight as it is.
  OwnBitmap(const WeightRows& rows, const WeightShape& shape, int64_t sums);
  OwnBitmap(const OwnBitmap&) = delete;

  Bitmap bitmap() const;

 private:
  std::vector<uint8_t> mask_;
  std::vector<float> values_;
  int64_t elements_;
};

}  // namespace onnxcomp
