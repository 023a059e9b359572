#include "kernels/sign_gemm/run.h"

#include <algorithm>

#include "kernels/sparse_conv/workspace.h"
#include "kernels/sparse_gemm/tasks.h"

namespace onnxcomp::sign_gemm {

using sparse_conv::Workspace;

namespace {

// As many weights cost what one multiply-add of a sparse weight does.
constexpr double kWeightsOfProduct = 16;

}  // namespace

Run::Run(const Kernel& kernel, const SignPanels& weight, const sparse_gemm::LastStage& last,
         const sparse_gemm::Tensors& tensors)
    : kernel_(kernel), weight_(weight), last_(last), tensors_(tensors) {
  const double weights = static_cast<double>(weight.outputs) * static_cast<double>(weight.columns * tensors.rows);
  tasks_ = std::min(sparse_gemm::tasks_for(weights / kWeightsOfProduct), weight.panels());
}

bool Run::run(int64_t task) const noexcept {
  const int64_t table_floats = weight_.octets() * kOctet * kCodes;
  const int64_t panel_floats = kSignBlock * weight_.lanes;
  Workspace workspace(Workspace::piece<float>(table_floats) + 2 * Workspace::piece<float>(panel_floats));
  if (!workspace.ok()) return false;
  auto* table = workspace.take<float>(table_floats);
  auto* sum = workspace.take<float>(panel_floats);
  auto* outputs = workspace.take<float>(panel_floats);
  std::fill(table + weight_.quads() * kCodes, table + table_floats, 0.0f);
  const int64_t first = weight_.panels() * task / tasks_;
  const int64_t last = weight_.panels() * (task + 1) / tasks_;
  for (int64_t row = 0; row < tensors_.rows; ++row) {
    kernel_.table(weight_.quads(), tensors_.x + row * weight_.columns, table);
    for (int64_t panel = first; panel < last; ++panel) run_panel(panel, table, row, sum, outputs);
  }
  return true;
}

void Run::run_panel(int64_t panel, const float* table, int64_t row, float* sum, float* outputs) const noexcept {
  const int64_t lanes = weight_.lanes;
  const int64_t octet = panel * weight_.octets();
  const int64_t scale = octet * kOctet * lanes;
  const void* scales = weight_.half ? static_cast<const void*>(weight_.half_scale.data() + scale)
                                    : static_cast<const void*>(weight_.scale.data() + scale);
  const auto multiply = weight_.half ? kernel_.multiply_half : kernel_.multiply;
  multiply({weight_.octets(), weight_.sign.data() + octet * kSignBlock * lanes, scales, table, sum});
  const int64_t first = panel * kSignBlock * lanes;
  const int64_t count = std::min(kSignBlock * lanes, weight_.outputs - first);
  std::fill(outputs + count, outputs + kSignBlock * lanes, 0.0f);
  for (int64_t i = 0; i < count; ++i)
    outputs[i] = sum[i % kSignBlock * lanes + i / kSignBlock] + tensors_.bias[first + i];
  last_(outputs, kSignBlock * lanes);
  std::copy_n(outputs, count, tensors_.y + row * weight_.outputs + first);
}

}  // namespace onnxcomp::sign_gemm
