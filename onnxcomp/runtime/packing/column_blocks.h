// A sparse matrix as kernels that take one row at a time read it: compressed rows, block of columns by block of columns,
// so that the block of the other factor stays in L1.
//
// In every range of kSorted rows they stand by falling length within the block, so that a loop over a row's entries
// mostly ends where the one before it did and the branch is predicted; a misprediction costs as much as ten entries.
#pragma once

#include <cstdint>
#include <vector>

#include "packing/matrix_rows.h"

namespace onnxcomp {

struct ColumnBlocks {
  static constexpr int64_t kBlock = 512;  // columns; 16 floats for each are 32 KB
  static constexpr int64_t kSorted = 64;  // rows; a range of them in the matrix is the same range here
  int64_t rows;
  int64_t columns;
  std::vector<uint32_t> row_begin;  // [blocks * rows + 1]
  std::vector<uint32_t> row;        // [blocks * rows] the row of the matrix
  std::vector<uint16_t> index;      // [nonzeros] column within the block
  std::vector<float> value;         // [nonzeros]

  int64_t blocks() const { return (columns + kBlock - 1) / kBlock; }
};

ColumnBlocks pack_column_blocks(const MatrixRows& matrix);

}  // namespace onnxcomp
