// Into how many tasks a run is worth cutting.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/sparse_conv/contract.h"

namespace onnxcomp::channel_conv {

constexpr double kTaskCycles = 40'000;     // about 10 us: well above the 0.2 us that a task costs
constexpr int64_t kTasksPerThread = 8;        // so that uneven tasks even out

// Tasks that `cycles` of work make worthwhile.
inline int64_t worthwhile_tasks(double cycles) { return static_cast<int64_t>(std::min(cycles / kTaskCycles, 1e9)); }

// For `threads`: at most `items`, at least one.
inline int64_t tasks_for(double cycles, int64_t threads, int64_t items) {
  if (threads <= 1) return 1;
  return std::clamp<int64_t>(std::min(worthwhile_tasks(cycles), kTasksPerThread * threads), 1,
                             std::max<int64_t>(items, 1));
}

// Whether the last stage is no more than bounds, which the kernels apply themselves.
inline bool is_clamp(sparse_conv::Activation activation) {
  return activation == sparse_conv::Activation::relu || activation == sparse_conv::Activation::clip;
}
inline bool is_separate(const sparse_conv::Finish& finish, const float* residual) {
  return residual != nullptr || (finish.activation != sparse_conv::Activation::none && !is_clamp(finish.activation));
}

}  // namespace onnxcomp::channel_conv
