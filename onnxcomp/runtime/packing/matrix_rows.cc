#include "packing/matrix_rows.h"

#include <algorithm>

namespace onnxcomp {

// Rows begin at any bit: words are taken at the row's own grid of 64 columns, shifted out of eight bytes and a ninth.
template <class Visit>
void MatrixRows::for_each_column(int64_t row, Visit visit) const {
  const int64_t first = row * columns_;
  for (int64_t column = 0; column < columns_; column += 64) {
    const int64_t byte = (first + column) / 8;
    const int64_t shift = (first + column) % 8;
    uint64_t word = 0;
    std::memcpy(&word, bitmap_.mask + byte, std::min<int64_t>(8, bitmap_.mask_bytes - byte));
    word >>= shift;
    if (shift > 0 && byte + 8 < bitmap_.mask_bytes) word |= uint64_t{bitmap_.mask[byte + 8]} << (64 - shift);
    if (columns_ - column < 64) word &= (uint64_t{1} << (columns_ - column)) - 1;
    for (; word != 0; word &= word - 1) visit(column + std::countr_zero(word));
  }
}

MatrixRows::MatrixRows(const Bitmap& bitmap, int64_t columns) : bitmap_(bitmap), columns_(columns), begin_{0} {
  const int64_t rows = bitmap.elements / columns;
  begin_.reserve(rows + 1);
  for (int64_t row = 0; row < rows; ++row) {
    int64_t length = 0;
    for_each_column(row, [&](int64_t) { ++length; });
    begin_.push_back(begin_.back() + length);
  }
}

void MatrixRows::read(int64_t row, Row& to) const {
  to.column.clear();
  to.value.clear();
  int64_t index = begin_[row];
  for_each_column(row, [&](int64_t column) {
    to.column.push_back(static_cast<uint32_t>(column));
    to.value.push_back(bitmap_.value(index++));
  });
}

}  // namespace onnxcomp
