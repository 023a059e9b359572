#include "ops/sparse_conv.h"

#include <algorithm>
#include <atomic>

#include "cpu.h"
#include "kernels/channel_conv/dispatch.h"
#include "kernels/channel_conv/pixel_run.h"
#include "kernels/channel_conv/run.h"
#include "kernels/sparse_conv/dispatch.h"
#include "ops/node.h"
#include "ops/stored_weight.h"

namespace onnxcomp {
namespace {

using sparse_conv::ConvShape;

enum Input : size_t { kX = 0, kBias = 3, kResidual = 4 };

// Height and width to plan for where the model leaves them open.
constexpr int64_t kTypicalSize = 28;

// `sizes` are X's spatial dimensions.
ConvShape conv_shape(const ConvAttributes& conv, int64_t batch, const std::vector<int64_t>& sizes) {
  const auto along = [&](size_t axis) {
    const ConvAxis& a = conv.axes[axis];
    const auto extent = conv.extent(axis, sizes[axis]);
    return sparse_conv::AxisShape{sizes[axis], extent.outputs, a.kernel, a.stride, a.dilation, extent.pad_begin};
  };
  const size_t width = conv.axes.size() - 1;
  const sparse_conv::AxisShape flat = {1, 1, 1, 1, 1, 0};
  return {batch, weight_shape(conv), width == 0 ? flat : along(0), along(width)};
}

// X's spatial dimensions as the model declares them; a typical size, and no less than the kernel, where it does not.
std::vector<int64_t> expected_sizes(const ConvAttributes& conv, const std::vector<int64_t>& declared) {
  std::vector<int64_t> sizes;
  for (size_t i = 0; i < conv.axes.size(); ++i) {
    const bool known = declared.size() == conv.axes.size() + 2 && declared[2 + i] > 0;
    const int64_t size = known ? declared[2 + i] : kTypicalSize;
    const ConvAxis& a = conv.axes[i];
    const bool fits =
        conv.auto_pad == AutoPad::notset ? size + a.pad_begin + a.pad_end >= a.extent() : size >= a.extent();
    sizes.push_back(fits ? size : a.extent());
  }
  return sizes;
}

bool same_map(const ConvShape& a, const ConvShape& b) {
  return a.y.input == b.y.input && a.x.input == b.x.input;  // the rest follows from the node
}

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

// Runs all tasks on the runtime's threads. Whether any but this one took part.
template <class Run>
bool execute(const OrtApi& api, const OrtKernelContext* context, const Run& run) {
  static thread_local char this_thread;
  struct Shared {
    const Run& run;
    const char* caller;
    std::atomic<bool> others = false;
    std::atomic<bool> out_of_memory = false;
  } shared{run, &this_thread};
  const auto body = [](void* data, size_t task) noexcept {
    auto& s = *static_cast<Shared*>(data);
    if (&this_thread != s.caller) s.others = true;
    if (!s.run.run(static_cast<int64_t>(task))) s.out_of_memory = true;
  };
  if (run.tasks() == 1) {
    body(&shared, 0);
  } else {
    ort::check(api, api.KernelContext_ParallelFor(context, body, run.tasks(), 0, &shared));
  }
  if (shared.out_of_memory) fail("out of memory for the kernel's scratch");
  return shared.others;
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
  conv_ = ConvAttributes::read(attributes);
  finish_ = read_finish(form_.activation, attributes);
  if (const auto bias = ort::constant_input(api, info, kBias)) check_bias(*bias, conv_.weight_shape[0]);
  kernel_ = &sparse_conv::kernel_for(chosen_isa());
  channel_kernel_ = channel_conv::kernel_for(chosen_isa());
  const StoredWeight stored = read_stored_weight(api, info, conv_, form_.blocks);
  const ConvShape expected = conv_shape(conv_, 1, expected_sizes(conv_, ort::declared_input_shape(api, info, kX)));
  if (channel_kernel_ != nullptr) channel_weight_ = pack_channels(*kernel_, stored, expected);
  if (channel_weight_) return;
  const int64_t block = sparse_conv::choose_block(*kernel_, expected, entries_of(stored.blocks));
  weight_ = pack_blocked_csr(stored.blocks, expected.weight, block);
}

void SparseConv::compute(OrtKernelContext* context) const {
  named(label_, [&] { run(context); });
}

void SparseConv::run(OrtKernelContext* context) const {
  const ort::Tensor x = ort::input(api_, context, kX);
  const ort::Tensor bias = ort::input(api_, context, kBias);
  const int64_t channels = conv_.weight_shape[1] * conv_.group;
  const int64_t outputs = conv_.weight_shape[0];
  if (x.shape.size() != conv_.weight_shape.size())
    fail("X has shape ", text(x.shape), ", a rank of ", conv_.weight_shape.size(), " is needed");
  if (x.shape[1] != channels) fail("X has shape ", text(x.shape), ", the weight needs ", channels, " channels");
  check_bias(bias, outputs);

  const ConvShape shape = conv_shape(conv_, x.shape[0], {x.shape.begin() + 2, x.shape.end()});
  std::vector<int64_t> y_shape = {shape.batch, outputs};
  if (conv_.axes.size() == 2) y_shape.push_back(shape.y.output);
  y_shape.push_back(shape.x.output);
  check_size(y_shape);
  ort::Tensor z{};
  if (form_.residual) {
    z = ort::input(api_, context, kResidual);
    if (z.shape != y_shape) fail("Z has shape ", text(z.shape), ", the convolution's output has ", text(y_shape));
  }
  const ort::Tensor y = ort::output(api_, context, 0, y_shape);
  if (std::find(y_shape.begin(), y_shape.end(), 0) != y_shape.end()) return;

  const auto prepared = prepare(shape);
  const sparse_conv::Tensors tensors = {static_cast<const float*>(x.data), static_cast<const float*>(bias.data),
                                        static_cast<const float*>(z.data), static_cast<float*>(y.data)};
  const int64_t threads = threads_.expected();
  const auto go = [&](const auto& run) { threads_.record(execute(api_, context, run)); };
  if (const auto* plan = std::get_if<sparse_conv::Plan>(&prepared->plan))
    return go(sparse_conv::Run(*kernel_, weight_, shape, *plan, finish_, tensors, threads));
  const auto& plan = std::get<channel_conv::Plan>(prepared->plan);
  const channel_conv::Weight& weight = *channel_weight_;
  if (plan.pixels)
    return go(channel_conv::PixelRun(*channel_kernel_, kernel_->finish, *weight.blocks(), shape, plan, finish_, tensors,
                                     threads));
  go(channel_conv::Run(*channel_kernel_, kernel_->finish, weight, shape, plan, finish_, tensors, threads));
}

std::shared_ptr<const SparseConv::Prepared> SparseConv::prepare(const ConvShape& shape) const {
  {
    const std::lock_guard lock(mutex_);
    if (prepared_ && same_map(prepared_->shape, shape)) return prepared_;
  }
  auto fresh = std::make_shared<Prepared>();
  fresh->shape = shape;
  if (channel_weight_) {
    fresh->plan = channel_conv::make_plan(shape, *channel_weight_);
  } else {
    fresh->plan = sparse_conv::make_plan(*kernel_, shape, weight_);
  }
  const std::lock_guard lock(mutex_);
  prepared_ = fresh;
  return fresh;
}

}  // namespace onnxcomp
