#include "ops/sparse_matrix.h"

namespace onnxcomp {

void SparseMatrix::expect(int64_t rows) const {
  if (by_windows(rows)) {
    windows();
  } else {
    blocks();
  }
}

std::unique_ptr<sparse_gemm::Run> SparseMatrix::prepare(const sparse_gemm::LastStage& last,
                                                        const sparse_gemm::Tensors& tensors) const {
  if (by_windows(tensors.rows)) return std::make_unique<sparse_gemm::WindowsRun>(kernel_, windows(), last, tensors);
  return std::make_unique<sparse_gemm::RowsRun>(kernel_, blocks(), last, tensors);
}

bool SparseMatrix::by_windows(int64_t rows) const { return sparse_gemm::WindowsRun::suits(kernel_, rows, columns_); }

const LaneWindows& SparseMatrix::windows() const {
  const std::lock_guard lock(mutex_);
  if (!windows_) windows_ = std::make_unique<const LaneWindows>(pack_lane_windows(MatrixRows(stored_, columns_)));
  return *windows_;
}

const ColumnBlocks& SparseMatrix::blocks() const {
  const std::lock_guard lock(mutex_);
  if (!blocks_) blocks_ = std::make_unique<const ColumnBlocks>(pack_column_blocks(MatrixRows(stored_, columns_)));
  return *blocks_;
}

}  // namespace onnxcomp
