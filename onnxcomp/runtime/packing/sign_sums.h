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

#include "packing/block_bitmap.h"
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

// How the weight of a sparse convolution can be written.
enum class Writing { weights, blocks, sums };  // as it is, in blocks of kRowHeight outputs, or rewritten with sums

// How many entries a weight has, by how it is written.
struct EntryCounts {
  int64_t weights;
  int64_t blocks;
  int64_t sums;
  bool finite;  // all of its weights: infinite products cannot be split
};
EntryCounts count_entries(const WeightRows& rows, const WeightShape& shape);

// A weight as a bitmap of blocks, of height 1 unless it is written in blocks, with the memory it points to.
class WrittenWeight {
 public:
  // Blocks divide all groups' outputs.
  WrittenWeight(const WeightRows& rows, const WeightShape& shape, Writing writing);
  WrittenWeight(const WrittenWeight&) = delete;

  BlockBitmap blocks() const;

 private:
  std::vector<uint8_t> mask_;
  std::vector<float> values_;
  int64_t height_;
  int64_t columns_;
  int64_t elements_;
};

}  // namespace onnxcomp
