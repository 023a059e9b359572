#include "ops/sparse_conv.h"

#include "cpu.h"
#include "kernels/channel_conv/dispatch.h"
#include "kernels/channel_conv/pixel_run.h"
#include "kernels/channel_conv/run.h"
#include "kernels/sparse_conv/dispatch.h"
#include "ops/conv_call.h"
#include "ops/conv_shape.h"
#include "ops/node.h"
#include "ops/stored_weight.h"

namespace onnxcomp {
namespace {

using sparse_conv::ConvShape;

constexpr size_t kMask = 1;  // indices of inputs
constexpr size_t kValues = 2;
constexpr size_t kBias = 3;
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
      weight_(kValues),
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
  stored_form_ = read_stored_form(attributes, conv_, form_.blocks);
  expected_ = expected_shape(conv_, api, info);
  mask_ = required_constant(api, info, kMask, "mask");
  weight_.create(api, info, [&](const ort::Tensor& values) { return pack(values); });
}

std::unique_ptr<const SparseConv::Packed> SparseConv::pack(const ort::Tensor& values) const {
  const StoredWeight stored = read_stored_weight(stored_form_, mask_, values);
  auto packed = std::make_unique<Packed>();
  if (channel_kernel_ != nullptr) packed->channels = pack_channels(*kernel_, stored, expected_);
  if (packed->channels) return packed;
  const int64_t block = sparse_conv::choose_block(*kernel_, expected_, entries_of(stored.blocks));
  packed->elements = pack_blocked_csr(stored.blocks, expected_.weight, block);
  return packed;
}

void SparseConv::compute(OrtKernelContext* context) const {
  named(label_, [&] { run(context); });
}

void SparseConv::run(OrtKernelContext* context) const {
  const auto residual = form_.residual ? std::optional<size_t>(kResidual) : std::nullopt;
  const ConvCall call = ConvCall::read(api_, context, conv_, kBias, residual);
  if (call.empty) return;
  weight_.with(
      api_, context, [&](const ort::Tensor& values) { return pack(values); },
      [&](const Packed& weight) { run(context, weight, call); });
}

void SparseConv::run(OrtKernelContext* context, const Packed& weight, const ConvCall& call) const {
  const ConvShape& shape = call.shape;
  const auto prepared = weight.plan.get(shape, [&]() -> AnyPlan {
    if (weight.channels) return channel_conv::make_plan(shape, *weight.channels);
    return sparse_conv::make_plan(*kernel_, shape, weight.elements);
  });
  const int64_t threads = threads_.expected();
  const auto go = [&](const auto& run) { threads_.record(execute(api_, context, run)); };
  if (const auto* plan = std::get_if<sparse_conv::Plan>(prepared.get()))
    return go(sparse_conv::Run(*kernel_, weight.elements, shape, *plan, finish_, call.tensors, threads));
  const auto& plan = std::get<channel_conv::Plan>(*prepared);
  const channel_conv::Weight& channels = *weight.channels;
  if (plan.pixels)
    return go(channel_conv::PixelRun(*channel_kernel_, kernel_->finish, *channels.blocks(), shape, plan, finish_,
                                     call.tensors, threads));
  go(channel_conv::Run(*channel_kernel_, kernel_->finish, channels, shape, plan, finish_, call.tensors, threads));
}

void SparseConv::infer_shape(const OrtApi& api, OrtShapeInferContext* context) {
  const ShapeInferenceAttributes attributes(api, context);
  infer_conv_shape(api, context, ConvAttributes::read(attributes, read_weight_shape(attributes)));
}

}  // namespace onnxcomp
