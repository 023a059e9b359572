#include "packing/unified.h"

#include <bit>
#include <cmath>

#include "error.h"

namespace onnxcomp {

float Floats::operator[](int64_t index) const {
  if (half) {
    uint16_t bits = 0;
    std::memcpy(&bits, static_cast<const char*>(data) + index * 2, sizeof bits);
    return half_to_float(bits);
  }
  float value = 0;
  std::memcpy(&value, static_cast<const char*>(data) + index * 4, sizeof value);
  return value;
}

int64_t digit_bytes(int64_t base) {
  uint64_t largest = 1;
  for (int64_t i = 0; i < kDigitsOfRow; ++i) largest *= base;
  return (std::bit_width(largest - 1) + 7) / 8;
}

UnifiedWeight::UnifiedWeight(const StoredUnified& stored, const WeightShape& shape) : stored_(stored), shape_(shape) {
  uint64_t place = 1;
  for (uint64_t& power : place_) {
    power = place;
    place *= stored.levels.size();
  }
  const int64_t blocks = shape.groups * shape.outputs * shape.channels * shape.taps / size();
  const int64_t kinds_needed = (blocks + 3) / 4;
  if (stored.kinds_bytes != 0 && stored.kinds_bytes != kinds_needed)
    fail("kinds has ", stored.kinds_bytes, " bytes, ", blocks, " blocks need ", kinds_needed, " or none");
  if (stored.kinds_bytes != 0 && blocks % 4 != 0 && stored.kinds[kinds_needed - 1] >> blocks % 4 * 2 != 0)
    fail("kinds has bits set past the weight's last block");
  if (stored.kinds_bytes == 0 && stored.scales.count != blocks)
    fail("scales has ", stored.scales.count, " values, the weight has ", blocks, " blocks, all of them unified");
  int64_t counts[3] = {};
  rank_.resize(blocks);
  for (int64_t block = 0; block < blocks; ++block) {
    const Kind of_block = kind(block);
    if (of_block > kFree) fail("kinds says 3 of block ", block, ": only 0, 1 and 2 are kinds");
    rank_[block] = static_cast<uint32_t>(counts[of_block]++);
  }
  if (counts[kUnified] != stored.scales.count)
    fail("kinds marks ", counts[kUnified], " unified blocks, ", stored.scales.count, " scales are stored");
  if (counts[kFree] * size() != stored.values.count)
    fail("kinds marks ", counts[kFree], " free blocks of ", size(), ", ", stored.values.count, " values are stored");
  for (int64_t i = 0; i < stored.scales.count; ++i) {
    const float scale = stored.scales[i];
    if (!(scale > 0) || std::isinf(scale)) fail("scale ", i, " is ", scale, ": scales are positive and finite");
  }
  check_digits(counts[kUnified] * size());
}

void UnifiedWeight::check_digits(int64_t count) const {
  const int64_t rows = (count + kDigitsOfRow - 1) / kDigitsOfRow;
  const auto base = static_cast<int64_t>(stored_.levels.size());
  if (stored_.digit_rows != rows || stored_.digit_row_bytes != digit_bytes(base))
    fail("digits has shape ", stored_.digit_rows, "x", stored_.digit_row_bytes, ", ", count, " digits of ", base,
         " levels need ", rows, "x", digit_bytes(base));
  const uint64_t most = place_[kDigitsOfRow - 1] * base;
  for (int64_t row = 0; row < rows; ++row) {
    if (digit_row(row) >= most) fail("row ", row, " of digits has a number of more than 16 digits of ", base, " levels");
  }
  if (count % kDigitsOfRow != 0 && digit_row(rows - 1) >= place_[count % kDigitsOfRow])
    fail("digits past the last weight are not zero");
}

UnifiedWeight::Kind UnifiedWeight::kind(int64_t block) const {
  if (stored_.kinds_bytes == 0) return kUnified;
  return static_cast<Kind>(stored_.kinds[block / 4] >> block % 4 * 2 & 3);
}

uint64_t UnifiedWeight::digit_row(int64_t row) const {
  static_assert(std::endian::native == std::endian::little, "the first byte must be the lowest");
  uint64_t number = 0;
  std::memcpy(&number, stored_.digits + row * stored_.digit_row_bytes, stored_.digit_row_bytes);
  return number;
}

int64_t UnifiedWeight::digit(int64_t index) const {
  const uint64_t number = digit_row(index / kDigitsOfRow);
  const int64_t place = index % kDigitsOfRow;
  if (stored_.levels.size() == 2) return static_cast<int64_t>(number >> place & 1);
  return static_cast<int64_t>(number / place_[place] % stored_.levels.size());
}

void UnifiedWeight::decode(int64_t output, float* row) const {
  const int64_t across = shape_.channels / stored_.channels;
  const int64_t first_block = output / stored_.outputs * across * shape_.taps;
  const int64_t within = output % stored_.outputs * stored_.channels;
  for (int64_t i = 0; i < across * shape_.taps; ++i) {
    const int64_t block = first_block + i;
    const int64_t first = rank_[block] * size() + within;
    float* weights = row + i / shape_.taps * stored_.channels * shape_.taps + i % shape_.taps;
    switch (kind(block)) {
      case kZero:
        for (int64_t c = 0; c < stored_.channels; ++c) weights[c * shape_.taps] = 0;
        break;
      case kUnified: {
        const float scale = stored_.scales[rank_[block]];
        for (int64_t c = 0; c < stored_.channels; ++c)
          weights[c * shape_.taps] = stored_.levels[digit(first + c)] * scale;
        break;
      }
      case kFree:
        for (int64_t c = 0; c < stored_.channels; ++c) weights[c * shape_.taps] = stored_.values[first + c];
        break;
    }
  }
}

}  // namespace onnxcomp
