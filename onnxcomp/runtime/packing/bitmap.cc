#include "packing/bitmap.h"

#include "error.h"

namespace onnxcomp {

void Bitmap::check() const {
  const int64_t bytes_needed = (elements + 7) / 8;
  if (mask_bytes != bytes_needed)
    fail("mask has ", mask_bytes, " bytes, a weight of ", elements, " elements needs ", bytes_needed);
  if (elements % 8 != 0 && mask[mask_bytes - 1] >> (elements % 8) != 0)
    fail("mask has bits set past the weight's last element");
  int64_t marked = 0;
  for (int64_t byte = 0; byte < mask_bytes; byte += 8) marked += std::popcount(word(byte));
  if (marked != count) fail("mask marks ", marked, " values, ", count, " are stored");
}

float Bitmap::value(int64_t index) const {
  if (half) {
    uint16_t bits = 0;
    std::memcpy(&bits, static_cast<const char*>(values) + index * 2, sizeof bits);
    return half_to_float(bits);
  }
  float value = 0;
  std::memcpy(&value, static_cast<const char*>(values) + index * 4, sizeof value);
  return value;
}

float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 0x1f;
  const uint32_t fraction = half & 0x3ff;
  if (exponent == 0) {  // zero or subnormal: fraction x 2^-24, exact in float32
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  // 112 = 127 - 15, the difference of the two exponent biases.
  const uint32_t exponent32 = exponent == 0x1f ? 0xff : exponent + 112;
  return std::bit_cast<float>(sign | exponent32 << 23 | fraction << 13);
}

}  // namespace onnxcomp
