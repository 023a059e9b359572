#include <algorithm>
#include <cstring>

#include "kernels/sparse_conv/workspace.h"
#include "kernels/sparse_gemm/run.h"
#include "kernels/sparse_gemm/tasks.h"

namespace onnxcomp::sparse_gemm {

using sparse_conv::Workspace;

namespace {

constexpr int64_t kLanes = LaneWindows::kLanes;

}  // namespace

WindowsRun::WindowsRun(const Kernel& kernel, const LaneWindows& weight, const LastStage& last, const Tensors& tensors)
    : Run(kernel, last, tensors), weight_(weight), x_stride_(LaneWindows::padded(weight.columns)) {
  tasks_ = std::min(tasks_for(static_cast<double>(weight.entry_begin.back() * tensors.rows)), weight.groups());
}

// Groups are shared out by their entries: the first groups have the longest rows.
int64_t WindowsRun::first_group(int64_t task) const {
  if (task == tasks_) return weight_.groups();
  const auto& begin = weight_.entry_begin;
  return std::lower_bound(begin.begin(), begin.end() - 1, begin.back() * task / tasks_) - begin.begin();
}

bool WindowsRun::run(int64_t task) const noexcept {
  const int64_t x_size = tensors_.rows * x_stride_;
  Workspace workspace(Workspace::piece<float>(x_size) + Workspace::piece<float>(kMaxInputs * kLanes));
  if (!workspace.ok()) return false;
  auto* x = workspace.take<float>(x_size);
  auto* sum = workspace.take<float>(kMaxInputs * kLanes);
  for (int64_t m = 0; m < tensors_.rows; ++m) {
    float* padded = std::copy_n(tensors_.x + m * weight_.columns, weight_.columns, x + m * x_stride_);
    std::fill(padded, x + (m + 1) * x_stride_, 0.0f);
  }
  const int64_t last = first_group(task + 1);
  for (int64_t group = first_group(task); group < last; ++group) run_group(group, x, sum);
  return true;
}

void WindowsRun::run_group(int64_t group, const float* x, float* sum) const noexcept {
  const uint32_t* row = weight_.row.data() + group * kLanes;
  const int64_t lanes = std::min(kLanes, weight_.rows - group * kLanes);  // empty ones come last
  const uint32_t step = weight_.step_begin[group];
  const int64_t entry = weight_.entry_begin[group];
  const int64_t inputs = tensors_.rows;
  for (int64_t i = 0; i < inputs; ++i) {
    for (int64_t l = 0; l < kLanes; ++l) sum[i * kLanes + l] = l < lanes ? tensors_.bias[row[l]] : 0;
  }
  kernel_.windows[inputs - 1]({weight_.step_begin[group + 1] - step, weight_.mask.data() + step,
                               weight_.window.data() + step, weight_.offset.data() + entry,
                               weight_.value.data() + entry, x, x_stride_, sum});
  last_(sum, inputs * kLanes);
  for (int64_t i = 0; i < inputs; ++i) {
    float* y = tensors_.y + i * weight_.rows;
    for (int64_t l = 0; l < lanes; ++l) y[row[l]] = sum[i * kLanes + l];
  }
}

}  // namespace onnxcomp::sparse_gemm
