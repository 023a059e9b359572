// A sparse matrix in the stored format, read row by row.
#pragma once

#include <cstdint>
#include <vector>

#include "packing/bitmap.h"

namespace onnxcomp {

// Columns and first value of every row of a checked bitmap of rows x columns elements. The bitmap must outlive it.
class MatrixRows {
 public:
  MatrixRows(const Bitmap& bitmap, int64_t columns);

  int64_t rows() const { return static_cast<int64_t>(begin_.size()) - 1; }
  int64_t columns() const { return columns_; }
  int64_t length(int64_t row) const { return begin_[row + 1] - begin_[row]; }
  int64_t nonzeros() const { return begin_.back(); }

  struct Row {
    std::vector<uint32_t> column;  // rising
    std::vector<float> value;
  };
  // Puts row `row` into `to`, whose memory is used again.
  void read(int64_t row, Row& to) const;

 private:
  // Calls visit(column) for every nonzero of a row, in rising order.
  template <class Visit>
  void for_each_column(int64_t row, Visit visit) const;

  const Bitmap& bitmap_;
  int64_t columns_;
  std::vector<int64_t> begin_;  // [rows + 1] index of each row's first value
};

}  // namespace onnxcomp
