#include "ops/unified_conv.h"

#include <optional>

#include "cpu.h"
#include "kernels/sparse_conv/dispatch.h"
#include "kernels/sparse_conv/run.h"
#include "kernels/unified_conv/weight.h"
#include "ops/conv_call.h"
#include "ops/conv_shape.h"
#include "ops/node.h"
#include "ops/stored_unified.h"

namespace onnxcomp {
namespace {

constexpr size_t kWeight = 1;  // indices of inputs
constexpr size_t kBias = kWeight + kUnifiedInputs;
constexpr size_t kResidual = kBias + 1;

}  // namespace

UnifiedConv::UnifiedConv(const UnifiedConvForm& form, const OrtApi& api, const OrtKernelInfo* info)
    : form_(form),
      api_(api),
      label_(std::string(form.name) + " node '" + ort::node_name(api, info) + "'"),
      kernel_(sparse_conv::kernel_for(chosen_isa())),
      threads_(machine().processors) {
  named(label_, [&] { create(api, info); });
}

void UnifiedConv::create(const OrtApi& api, const OrtKernelInfo* info) {
  const KernelAttributes attributes(api, info);
  conv_ = ConvAttributes::read(attributes, read_weight_shape(attributes));
  finish_ = read_finish(form_.activation, attributes);
  if (const auto bias = ort::constant_input(api, info, kBias)) check_bias(*bias, conv_.weight_shape[0]);
  const sparse_conv::ConvShape expected = expected_shape(conv_, api, info);
  weight_ = unified_conv::pack_weight(kernel_, expected, read_unified_weight(api, info, kWeight, expected.weight));
}

void UnifiedConv::compute(OrtKernelContext* context) const {
  named(label_, [&] { run(context); });
}

void UnifiedConv::run(OrtKernelContext* context) const {
  const auto residual = form_.residual ? std::optional<size_t>(kResidual) : std::nullopt;
  const ConvCall call = ConvCall::read(api_, context, conv_, kBias, residual);
  if (call.empty) return;
  const auto plan = plan_.get(call.shape, [&] { return unified_conv::make_plan(kernel_, call.shape, weight_); });
  const sparse_conv::Run run(kernel_, weight_, call.shape, *plan, finish_, call.tensors, threads_.expected());
  threads_.record(execute(api_, context, run));
}

void UnifiedConv::infer_shape(const OrtApi& api, OrtShapeInferContext* context) {
  const ShapeInferenceAttributes attributes(api, context);
  infer_conv_shape(api, context, ConvAttributes::read(attributes, read_weight_shape(attributes)));
}

}  // namespace onnxcomp
