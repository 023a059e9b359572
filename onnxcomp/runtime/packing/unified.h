// The stored format of a weight in blocks of one magnitude, as onnxcomp/formats/unified.py defines it.
//
//   kinds   [ceil(blocks / 4)], or none  bits 2 (i % 4) and up of byte i / 4 say whether block i is zero (0), unified (1)
//                                        or free (2); where there are none, all are unified
//   scales  [unified]                    float32 or float16
//   digits  [ceil(unified * size / 16)][digit_bytes]  which level each weight of the unified blocks has: sixteen digits
//                                        of the number of levels a row, the first the least
//   values  [free * size]                float32 or float16
//
// A block is `outputs` x `channels` of the weight at one tap, row-major; blocks are row-major over (output channels /
// outputs, input channels of a group / channels, taps).
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "packing/bitmap.h"
#include "packing/sign_sums.h"

namespace onnxcomp {

// float32 or float16 in memory of any alignment.
struct Floats {
  const void* data;
  bool half;
  int64_t count;

  float operator[](int64_t index) const;
};

constexpr int64_t kDigitsOfRow = 16;
constexpr int64_t kMostLevels = 9;          // 9^16 < 2^53
constexpr int64_t kMostOfUnifiedBlock = 256;  // weights

// Bytes of a row of digits of `base`, from 2 to kMostLevels.
int64_t digit_bytes(int64_t base);

// As in the file.
struct StoredUnified {
  int64_t outputs;  // of a block
  int64_t channels;
  std::vector<float> levels;  // of the digits 0, 1, ...
  const uint8_t* kinds;
  int64_t kinds_bytes;
  Floats scales;
  const uint8_t* digits;
  int64_t digit_rows;
  int64_t digit_row_bytes;
  Floats values;
};

class UnifiedWeight final : public WeightRows {
 public:
  enum Kind : uint8_t { kZero, kUnified, kFree };

  // Throws Error where the parts disagree. `shape`'s channels and all groups' outputs are multiples of the block's.
  // Keeps pointers to the arrays.
  UnifiedWeight(const StoredUnified& stored, const WeightShape& shape);

  void decode(int64_t output, float* row) const override;

  const StoredUnified& stored() const { return stored_; }
  Kind kind(int64_t block) const;
  // Of a unified or free block, how many of its kind come before it.
  int64_t rank(int64_t block) const { return rank_[block]; }
  int64_t digit(int64_t index) const;

 private:
  int64_t size() const { return stored_.outputs * stored_.channels; }
  uint64_t digit_row(int64_t row) const;
  void check_digits(int64_t count) const;

  StoredUnified stored_;
  WeightShape shape_;
  uint64_t place_[kDigitsOfRow];  // powers of the number of levels
  std::vector<uint32_t> rank_;    // by block
};

}  // namespace onnxcomp
