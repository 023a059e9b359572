#include "ops/unified_gemm.h"

#include "cpu.h"
#include "kernels/sign_gemm/dispatch.h"
#include "kernels/sign_gemm/run.h"
#include "kernels/sparse_conv/dispatch.h"
#include "kernels/sparse_gemm/dispatch.h"
#include "ops/execute.h"
#include "ops/node.h"
#include "ops/stored_unified.h"

namespace onnxcomp {
namespace {

constexpr size_t kWeight = 1;  // indices of inputs
constexpr size_t kBias = kWeight + kUnifiedInputs;

}  // namespace

UnifiedGemm::UnifiedGemm(const Form& form, const OrtApi& api, const OrtKernelInfo* info)
    : form_(form),
      api_(api),
      label_(std::string(form.name) + " node '" + ort::node_name(api, info) + "'"),
      kernel_(sign_gemm::kernel_for(chosen_isa())) {
  named(label_, [&] { create(api, info); });
}

void UnifiedGemm::create(const OrtApi& api, const OrtKernelInfo* info) {
  const KernelAttributes attributes(api, info);
  shape_ = read_matrix_shape(attributes);
  last_ = {read_finish(form_.activation, attributes), sparse_conv::kernel_for(chosen_isa()).finish};
  if (const auto bias = ort::constant_input(api, info, kBias)) check_bias(*bias, shape_.outputs);
  const WeightShape shape = {1, shape_.outputs, shape_.columns, 1};
  const UnifiedWeight weight = read_unified_weight(api, info, kWeight, shape);
  panels_ =
      pack_sign_panels(weight, shape_.outputs, shape_.columns, kernel_.lanes, kernel_.multiply_half != nullptr);
  if (panels_) return;
  decoded_.emplace(weight, shape, Writing::weights);
  sparse_.emplace(sparse_gemm::kernel_for(chosen_isa()), decoded_->blocks().stored, shape_.columns);
  sparse_->expect(declared_rows(api, info));
}

void UnifiedGemm::compute(OrtKernelContext* context) const {
  named(label_, [&] { run(context); });
}

void UnifiedGemm::run(OrtKernelContext* context) const {
  const GemmCall call = GemmCall::read(api_, context, shape_, kBias, form_.any_rank);
  if (call.empty) return;
  if (panels_) {
    execute(api_, context, sign_gemm::Run(kernel_, *panels_, last_, call.tensors));
  } else {
    execute(api_, context, *sparse_->prepare(last_, call.tensors));
  }
}

}  // namespace onnxcomp
