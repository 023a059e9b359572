// What the C++ tests need: a check that counts, random data, and the stored formats made from a dense weight.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "packing/block_bitmap.h"
#include "packing/sign_sums.h"

namespace onnxcomp::testing {

inline int checks = 0;
inline int failures = 0;

// Counts a check and prints the formatted message where it fails.
template <class... Values>
void expect(bool ok, const char* format, Values... values) {
  ++checks;
  if (ok) return;
  ++failures;
  std::printf("FAILED ");
  if constexpr (sizeof...(values) > 0) {
    std::printf(format, values...);
  } else {
    std::printf("%s", format);
  }
  std::printf("\n");
}

// What main returns: 0 where checks were made and none failed.
inline int verdict() {
  std::printf("%d checks, %d failures\n", checks, failures);
  return failures == 0 && checks > 0 ? 0 : 1;
}

inline std::vector<float> normal(std::mt19937& random, int64_t count) {
  std::normal_distribution<float> distribution;
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

inline std::vector<float> sparse_normal(std::mt19937& random, int64_t count, double density) {
  std::vector<float> values = normal(random, count);
  std::bernoulli_distribution keep(density);
  for (float& value : values) value = keep(random) ? value : 0;
  return values;
}

// A bitmap and the memory it points to.
class PackedWeight {
 public:
  explicit PackedWeight(const std::vector<float>& weight) : mask_((weight.size() + 7) / 8) {
    for (size_t i = 0; i < weight.size(); ++i) {
      if (weight[i] == 0) continue;
      mask_[i / 8] |= static_cast<uint8_t>(1u << i % 8);
      values_.push_back(weight[i]);
    }
    elements_ = static_cast<int64_t>(weight.size());
  }
  Bitmap bitmap() const {
    return {mask_.data(), static_cast<int64_t>(mask_.size()),   values_.data(),
            false,        static_cast<int64_t>(values_.size()), elements_};
  }

 private:
  std::vector<uint8_t> mask_;
  std::vector<float> values_;
  int64_t elements_;
};

// A bitmap of blocks of `height` outputs, those that hold a nonzero, and the memory it points to.
class StoredBlocks {
 public:
  StoredBlocks(const std::vector<float>& weight, int64_t height, int64_t columns) {
    const int64_t rows = static_cast<int64_t>(weight.size()) / columns / height;
    mask_.resize((rows * columns + 7) / 8);
    for (int64_t block = 0; block < rows * columns; ++block) {
      const float* first = weight.data() + block / columns * height * columns + block % columns;
      bool kept = false;
      for (int64_t r = 0; r < height; ++r) kept = kept || first[r * columns] != 0;
      if (!kept) continue;
      mask_[block / 8] |= static_cast<uint8_t>(1u << block % 8);
      for (int64_t r = 0; r < height; ++r) values_.push_back(first[r * columns]);
    }
    bitmap_ = {{mask_.data(), static_cast<int64_t>(mask_.size()), values_.data(), false,
                static_cast<int64_t>(values_.size()), rows * columns},
               height,
               columns};
  }
  StoredBlocks(const StoredBlocks&) = delete;
  const BlockBitmap& bitmap() const { return bitmap_; }

 private:
  std::vector<uint8_t> mask_;
  std::vector<float> values_;
  BlockBitmap bitmap_;
};

// A dense weight [outputs][columns], row by row.
class DenseRows final : public WeightRows {
 public:
  DenseRows(const std::vector<float>& weight, int64_t columns) : weight_(weight), columns_(columns) {}
  void decode(int64_t output, float* row) const override {
    std::copy_n(weight_.begin() + output * columns_, columns_, row);
  }

 private:
  const std::vector<float>& weight_;
  int64_t columns_;
};

// Sets all but a share `density` of the blocks of `height` outputs to zero.
inline void prune_blocks(std::vector<float>& weight, int64_t height, int64_t columns, double density,
                         std::mt19937& random) {
  std::bernoulli_distribution keep(density);
  for (int64_t row = 0; row < static_cast<int64_t>(weight.size()) / columns / height; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      if (keep(random)) continue;
      for (int64_t r = 0; r < height; ++r) weight[(row * height + r) * columns + column] = 0;
    }
  }
}

}  // namespace onnxcomp::testing
