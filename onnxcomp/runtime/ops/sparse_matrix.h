// A fully connected weight in the form that suits the rows of X at hand, packed when it is first wanted.
#pragma once

#include <memory>
#include <mutex>

#include "kernels/sparse_gemm/run.h"
#include "packing/bitmap.h"

namespace onnxcomp {

class SparseMatrix {
 public:
  // A checked bitmap of [outputs][columns], which must outlive this.
  SparseMatrix(const sparse_gemm::Kernel& kernel, const Bitmap& stored, int64_t columns)
      : kernel_(kernel), stored_(stored), columns_(columns) {}

  // Packs what so many rows of X want, before the first run.
  void expect(int64_t rows) const;
  // May be called in several threads at once.
  std::unique_ptr<sparse_gemm::Run> prepare(const sparse_gemm::LastStage& last,
                                            const sparse_gemm::Tensors& tensors) const;

 private:
  bool by_windows(int64_t rows) const;
  const LaneWindows& windows() const;
  const ColumnBlocks& blocks() const;

  const sparse_gemm::Kernel& kernel_;
  Bitmap stored_;
  int64_t columns_;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<const LaneWindows> windows_;
  mutable std::unique_ptr<const ColumnBlocks> blocks_;
};

}  // namespace onnxcomp
