// The stored format of a sparse weight, as onnxcomp/formats/bitmap.py defines it.
//
//   mask    [ceil(elements / 8)]  bit i % 8 of byte i / 8 says whether element i, in row-major order, is a nonzero
//   values  [count]               the nonzeros in the same order, float32 or float16
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace onnxcomp {

struct Bitmap {
  const uint8_t* mask;
  int64_t mask_bytes;
  const void* values;
  bool half;  // values are float16
  int64_t count;
  int64_t elements;

  // Throws Error where mask, values and the number of elements disagree. Everything below relies on it.
  void check() const;

  float value(int64_t index) const;

  // Calls visit(element, index): its position in the weight and the index of its value, in rising order.
  template <class Visit>
  void for_each(Visit visit) const {
    int64_t index = 0;
    for (int64_t byte = 0; byte < mask_bytes; byte += 8) {
      for (uint64_t bits = word(byte); bits != 0; bits &= bits - 1) visit(byte * 8 + std::countr_zero(bits), index++);
    }
  }

 private:
  // Eight bytes of the mask, zeros past its end.
  uint64_t word(int64_t byte) const {
    static_assert(std::endian::native == std::endian::little, "bit i of the word must be bit i % 8 of byte i / 8");
    uint64_t bits = 0;
    std::memcpy(&bits, mask + byte, mask_bytes - byte < 8 ? mask_bytes - byte : 8);
    return bits;
  }
};

// IEEE 754 binary16 to binary32, exact; subnormals, infinities and NaN included.
float half_to_float(uint16_t half);

}  // namespace onnxcomp
