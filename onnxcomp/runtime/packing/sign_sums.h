// Weights of four input channels that share a magnitude are one product with a sum of the four: m (x0 - x1 + x2 + x3).
//
// A weight is rewritten as a sparse one of other channels: of each four successive input channels of a group (zeros
// where there are fewer), the eight sums under every pattern of signs whose first is +, in the order of SumFn. At one
// output channel and tap, four weights of one magnitude are then one entry. Those of two magnitudes a > b >= 0 are two:
// with s the signs of all and t the signs with those of the smaller ones turned, they are (a + b) / 2 s + (a - b) / 2 t.
// Any others are their products with four patterns that are orthogonal. (To have the four channels themselves beside
// the sums gains some per cent at most: the scratch then holds fewer.)
#pragma once

#include <cstdint>
#include <vector>

#include "packing/bitmap.h"
#include "packing/blocked_csr.h"

namespace onnxcomp {

constexpr int64_t kQuad = 4;  // input channels that are summed
constexpr int64_t kSums = 8;  // of them

// A weight's output channels, one by one.
class WeightRows {
 public:
  virtual ~WeightRows() = default;
  // Writes weights [channels of a group][taps] of an output channel.
  virtual void decode(int64_t output, float* row) const = 0;
};

// The shape of a weight rewritten.
WeightShape shape_of_sums(const WeightShape& shape);

// How many entries a weight has.
struct EntryCounts {
  int64_t channels;  // as it is
  int64_t sums;      // rewritten
  bool finite;       // all of its weights: infinite products cannot be split
};
EntryCounts count_entries(const WeightRows& rows, const WeightShape& shape);

// A weight's bitmap with the memory it points to.
class OwnBitmap {
 public:
  // Of the weight rewritten with `sums`, or as it is.
  OwnBitmap(const WeightRows& rows, const WeightShape& shape, bool sums);
  OwnBitmap(const OwnBitmap&) = delete;

  Bitmap bitmap() const;

 private:
  std::vector<uint8_t> mask_;
  std::vector<float> values_;
  int64_t elements_;
};

}  // namespace onnxcomp
