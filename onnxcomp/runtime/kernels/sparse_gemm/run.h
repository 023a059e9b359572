// One execution of Y = activation(X * W^T + bias), cut into tasks that may run in any order and at the same time.
#pragma once

#include <cstdint>

#include "kernels/sparse_conv/contract.h"
#include "kernels/sparse_gemm/contract.h"
#include "packing/column_blocks.h"
#include "packing/lane_windows.h"

namespace onnxcomp::sparse_gemm {

using sparse_conv::Activation;
using sparse_conv::Finish;
using sparse_conv::FinishFn;

struct Tensors {
  int64_t rows;       // M
  const float* x;     // [M, K]
  const float* bias;  // [N]
  float* y;           // [M, N]
};

// The last stage, by the code of the instruction set at hand.
struct LastStage {
  Finish finish;
  FinishFn apply;
  void operator()(float* y, int64_t count) const noexcept {
    if (finish.activation != Activation::none) apply(finish, nullptr, y, count);
  }
};

class Run {
 public:
  virtual ~Run() = default;
  int64_t tasks() const { return tasks_; }
  // Runs one task. False where its scratch could not be allocated; the output is then incomplete.
  virtual bool run(int64_t task) const noexcept = 0;

 protected:
  Run(const Kernel& kernel, const LastStage& last, const Tensors& tensors)
      : kernel_(kernel), last_(last), tensors_(tensors), tasks_(1) {}

  const Kernel& kernel_;
  LastStage last_;
  Tensors tensors_;
  int64_t tasks_;
};

// For a few rows of X, on LaneWindows: every weight is read once, 16 rows of W at a time.
class WindowsRun final : public Run {
 public:
  // Whether `kernel` can, for `rows` rows of X. For more of them RowsRun is faster anyway (bench.cc).
  static bool suits(const Kernel& kernel, int64_t rows, int64_t columns) {
    return kernel.windows[0] != nullptr && rows <= kMaxInputs && columns <= LaneWindows::kMostColumns;
  }

  // Keeps references to `kernel` and `weight`. 1 to kMaxInputs rows.
  WindowsRun(const Kernel& kernel, const LaneWindows& weight, const LastStage& last, const Tensors& tensors);
  bool run(int64_t task) const noexcept override;

 private:
  int64_t first_group(int64_t task) const;
  void run_group(int64_t group, const float* x, float* sum) const noexcept;

  const LaneWindows& weight_;
  int64_t x_stride_;
};

// For any number of rows of X, on ColumnBlocks: X is transposed, block by block, into panels of up to kPanel of its rows.
class RowsRun final : public Run {
 public:
  // Keeps references to `kernel` and `weight`.
  RowsRun(const Kernel& kernel, const ColumnBlocks& weight, const LastStage& last, const Tensors& tensors);
  bool run(int64_t task) const noexcept override;

 private:
  // Rows [first_x, first_x + x_rows) of X with rows [first, first + rows) of W.
  struct Unit {
    int64_t first_x;
    int64_t x_rows;
    int64_t width;  // floats of the panel for one column: x_rows rounded up to vectors, or 1
    int64_t first;
    int64_t rows;
  };
  Unit unit(int64_t task) const;
  void multiply(const Unit& unit, float* input, float* sum) const noexcept;
  void store(const Unit& unit, float* sum) const noexcept;

  const ColumnBlocks& weight_;
  int64_t panels_;
  int64_t parts_;  // of W's rows
};

}  // namespace onnxcomp::sparse_gemm
