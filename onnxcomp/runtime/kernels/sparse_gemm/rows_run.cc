#include <algorithm>

#include "kernels/sparse_conv/workspace.h"
#include "kernels/sparse_gemm/run.h"
#include "kernels/sparse_gemm/tasks.h"

namespace onnxcomp::sparse_gemm {

using sparse_conv::Workspace;

namespace {

constexpr int64_t kBlock = ColumnBlocks::kBlock;
constexpr int64_t kSumBytes = 128 << 10;  // of a task: stays in L2

// panel[k][w] = x[w][k], zero past the last row. `x` rows are `stride` floats apart.
void transpose(const float* x, int64_t stride, int64_t rows, int64_t columns, float* panel, int64_t width) {
  for (int64_t k = 0; k < columns; ++k) {
    float* to = panel + k * width;
    for (int64_t w = 0; w < rows; ++w) to[w] = x[w * stride + k];
    std::fill(to + rows, to + width, 0.0f);
  }
}

}  // namespace

RowsRun::RowsRun(const Kernel& kernel, const ColumnBlocks& weight, const LastStage& last, const Tensors& tensors)
    : Run(kernel, last, tensors), weight_(weight) {
  panels_ = divide_up(tensors.rows, kPanel);
  const int64_t for_cache = divide_up(weight.rows * kPanel * static_cast<int64_t>(sizeof(float)), kSumBytes);
  const double multiply_adds = static_cast<double>(weight.value.size()) * static_cast<double>(tensors.rows);
  const int64_t for_threads = divide_up(tasks_for(multiply_adds), panels_);
  parts_ = std::clamp<int64_t>(std::max(for_cache, for_threads), 1, divide_up(weight.rows, ColumnBlocks::kSorted));
  tasks_ = panels_ * parts_;
}

// The panels of one part follow each other: its weights are then in a cache.
RowsRun::Unit RowsRun::unit(int64_t task) const {
  const int64_t part = task / panels_;
  Unit unit{};
  unit.first_x = task % panels_ * kPanel;
  unit.x_rows = std::min<int64_t>(kPanel, tensors_.rows - unit.first_x);
  unit.width = tensors_.rows == 1 ? 1 : divide_up(unit.x_rows, kernel_.lanes) * kernel_.lanes;
  const int64_t ranges = divide_up(weight_.rows, ColumnBlocks::kSorted);
  unit.first = ranges * part / parts_ * ColumnBlocks::kSorted;
  unit.rows = std::min(ranges * (part + 1) / parts_ * ColumnBlocks::kSorted, weight_.rows) - unit.first;
  return unit;
}

bool RowsRun::run(int64_t task) const noexcept {
  const Unit u = unit(task);
  // The last stage takes whole vectors.
  const int64_t sums = divide_up(u.rows * u.width, kernel_.lanes) * kernel_.lanes;
  const int64_t inputs = u.width == 1 ? 0 : std::min(kBlock, weight_.columns) * u.width;
  Workspace workspace(Workspace::piece<float>(inputs) + Workspace::piece<float>(sums));
  if (!workspace.ok()) return false;
  auto* input = workspace.take<float>(inputs);
  auto* sum = workspace.take<float>(sums);
  for (int64_t r = 0; r < u.rows; ++r) std::fill_n(sum + r * u.width, u.width, tensors_.bias[u.first + r]);
  std::fill(sum + u.rows * u.width, sum + sums, 0.0f);
  multiply(u, input, sum);
  last_(sum, sums);
  store(u, sum);
  return true;
}

void RowsRun::multiply(const Unit& u, float* input, float* sum) const noexcept {
  const RowsFn kernel = u.width == 1 ? kernel_.dot : kernel_.panel[u.width / kernel_.lanes - 1];
  for (int64_t block = 0; block < weight_.blocks(); ++block) {
    const int64_t first = block * kBlock;
    const float* x = tensors_.x + u.first_x * weight_.columns + first;
    if (u.width > 1) {
      transpose(x, weight_.columns, u.x_rows, std::min(kBlock, weight_.columns - first), input, u.width);
      x = input;
    }
    const int64_t row = block * weight_.rows + u.first;
    kernel({u.rows, weight_.row_begin.data() + row, weight_.row.data() + row, weight_.index.data(),
            weight_.value.data(), x, sum - u.first * u.width});
  }
}

void RowsRun::store(const Unit& u, float* sum) const noexcept {
  for (int64_t w = 0; w < u.x_rows; ++w) {
    float* y = tensors_.y + (u.first_x + w) * weight_.rows + u.first;
    for (int64_t r = 0; r < u.rows; ++r) y[r] = sum[r * u.width + w];
  }
}

}  // namespace onnxcomp::sparse_gemm
