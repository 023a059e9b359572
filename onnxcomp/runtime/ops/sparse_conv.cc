#include "ops/sparse_conv.h"

#include "cpu.h"
#include "kernels/channel_conv/dispatch.h"
#include "kernels/channel_conv/pixel_run.h"
#include "kernels/channel_conv/run.h"
#include "kernels/sparse_conv/dispatch.h"
#include "ops/conv_call.h"
#include "ops/conv_shape.h"
#include "ops/execute.h"
#include "ops/node.h"
#include "ops/stored_weight.h"

namespace onnxcomp {
namespace {

using sparse_conv::ConvShape;

constexpr size_t kBias = 3;  // indices of inputs
constexpr size_t kResidual = 4;

// Whether a weight that keeps n of 16 is to run in windows, rather than element by element: a permutation beside each
// FMA has to be worth what it saves on small maps.
bool prefers_windows(const sparse_conv::Kernel& kernel, const StoredWeight& stored, const ConvShape& expected) {
  const WeightShape& shape = expected.weight;
  // With few channels most of a vector would be padding.
  if (stored.kept == 0 || shape.outputs < kChannels / 2 || shape.channels < kChannels / 2) return false;
  return channel_conv::predict_cycles(expected, channel_conv::work_of_windows(shape, stored.kept)) <
         sparse_conv::predict_cycles(kernel, expected, entries_of(stored.blocks));
}

// The weight for the kernels that have output channels for lanes, where it has a structure that they are made for.
std::optional<channel_conv::Weight> pack_channels(const sparse_conv::Kernel& kernel, const StoredWeight& stored,
                                                  const ConvShape& expected) {
  const WeightShape& shape = expected.weight;
  if (stored.blocks.height == kChannels) {
    const int64_t block =
        channel_conv::choose_block(expected, channel_conv::work_of_blocks(shape, stored.blocks.kept()));
    return channel_conv::Weight(pack_channel_blocks(stored.blocks, shape, block));
  }
  if (prefers_windows(kernel, stored, expected))
    return channel_conv::Weight(pack_channel_windows(stored.blocks.stored, shape, stored.kept));
  return std::nullopt;
}

}  // namespace

SparseConv::SparseConv(const SparseConvForm& form, const OrtApi& api, const OrtKernelInfo* info)
    : form_(form),
      api_(api),
      label_(std::string(form.name) + " node '" + ort::node_name(api, info) + "'"),
      threads_(machine().processors) {
  named(label_, [&] { create(api, info); });
}

void SparseConv::create(const OrtApi& api, const OrtKernelInfo* info) {
  const KernelAttributes attributes(api, info);
  conv_ = ConvAttributes::read(attributes, read_weight_shape(attributes));
  finish_ = read_finish(form_.activation, attributes);
  if (const auto bias = ort::constant_input(api, info, kBias)) check_bias(*bias, conv_.weight_shape[0]);
  kernel_ = &sparse_conv::kernel_for(chosen_isa());
  channel_kernel_ = channel_conv::kernel_for(chosen_isa());
  const StoredWeight stored = read_stored_weight(api, info, conv_, form_.blocks);
  const ConvShape expected = expected_shape(conv_, api, info);
  if (channel_kernel_ != nullptr) channel_weight_ = pack_channels(*kernel_, stored, expected);
  if (channel_weight_) return;
  const int64_t block = sparse_conv::choose_block(*kernel_, expected, entries_of(stored.blocks));
  weight_ = pack_blocked_csr(stored.blocks, expected.weight, block);
}

void SparseConv::compute(OrtKernelContext* context) const {
  named(label_, [&] { run(context); });
}

void SparseConv::run(OrtKernelContext* context) const {
  const auto residual = form_.residual ? std::optional<size_t>(kResidual) : std::nullopt;
  const ConvCall call = ConvCall::read(api_, context, conv_, kBias, residual);
  if (call.empty) return;
  const ConvShape& shape = call.shape;
  const auto prepared = plan_.get(shape, [&] { return make_plan(shape); });
  const int64_t threads = threads_.expected();
  const auto go = [&](const auto& run) { threads_.record(execute(api_, context, run)); };
  if (const auto* plan = std::get_if<sparse_conv::Plan>(prepared.get()))
    return go(sparse_conv::Run(*kernel_, weight_, shape, *plan, finish_, call.tensors, threads));
  const auto& plan = std::get<channel_conv::Plan>(*prepared);
  const channel_conv::Weight& weight = *channel_weight_;
  if (plan.pixels)
    return go(channel_conv::PixelRun(*channel_kernel_, kernel_->finish, *weight.blocks(), shape, plan, finish_,
                                     call.tensors, threads));
  go(channel_conv::Run(*channel_kernel_, kernel_->finish, weight, shape, plan, finish_, call.tensors, threads));
}

SparseConv::AnyPlan SparseConv::make_plan(const ConvShape& shape) const {
  if (channel_weight_) return channel_conv::make_plan(shape, *channel_weight_);
  return sparse_conv::make_plan(*kernel_, shape, weight_);
}

void SparseConv::infer_shape(const OrtApi& api, OrtShapeInferContext* context) {
  const ShapeInferenceAttributes attributes(api, context);
  infer_conv_shape(api, context, ConvAttributes::read(attributes, read_weight_shape(attributes)));
}

}  // namespace onnxcomp
