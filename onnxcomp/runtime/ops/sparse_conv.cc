#include "ops/sparse_conv.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>

#include "cpu.h"
#include "error.h"
#include "kernels/sparse_conv/dispatch.h"
#include "ort.h"
#include "packing/bitmap.h"

namespace onnxcomp {
namespace {

using sparse_conv::Activation;
using sparse_conv::ConvShape;

enum Input : size_t { kX, kMask, kValues, kBias, kResidual };

// Height and width to plan for where the model leaves them open.
constexpr int64_t kTypicalSize = 28;

void check_stored_form(const Attributes& attributes) {
  const auto structure = attributes.string("structure");
  if (!structure) fail("attribute structure is missing");
  if (*structure != "unstructured")
    fail("structure is '", *structure, "', which this library does not know: only 'unstructured'");
  const auto to = attributes.integer("to");
  if (!to) fail("attribute to is missing");
  if (*to != ONNX_TYPE_FLOAT) fail("to is ", *to, ": weights are decoded to float32 (1) only");
}

float required_real(const Attributes& attributes, const char* name) {
  const auto value = attributes.real(name);
  if (!value) fail("attribute ", name, " is missing");
  if (std::isnan(*value)) fail("attribute ", name, " is not a number");
  return *value;
}

sparse_conv::Finish read_finish(Activation activation, const Attributes& attributes) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  sparse_conv::Finish finish{activation, -kInfinity, kInfinity, 0};
  if (activation == Activation::relu) finish.low = 0;
  if (activation == Activation::clip) {
    finish.low = required_real(attributes, "clip_min");
    finish.high = required_real(attributes, "clip_max");
  }
  if (activation == Activation::leaky_relu) {
    finish.alpha = required_real(attributes, "alpha");
    if (std::isinf(finish.alpha)) fail("attribute alpha is infinite");
  }
  return finish;
}

void check_bias(const ort::Tensor& bias, int64_t outputs) {
  if (bias.type != ONNX_TYPE_FLOAT) fail("B must be float32");
  if (bias.shape != std::vector<int64_t>{outputs})
    fail("B has shape ", text(bias.shape), ", the weight has ", outputs, " output channels");
}

ort::Tensor required_constant(const OrtApi& api, const OrtKernelInfo* info, size_t index, const char* name) {
  const auto tensor = ort::constant_input(api, info, index);
  if (!tensor) fail("input ", name, " must be a constant of the model (an initializer)");
  return *tensor;
}

Bitmap read_bitmap(const OrtApi& api, const OrtKernelInfo* info, const std::vector<int64_t>& weight_shape) {
  const ort::Tensor mask = required_constant(api, info, kMask, "mask");
  const ort::Tensor values = required_constant(api, info, kValues, "values");
  if (mask.type != ONNX_TYPE_UINT8 || mask.shape.size() != 1) fail("mask must be uint8 of rank 1");
  const bool half = values.type == ONNX_TYPE_FLOAT16;
  if ((!half && values.type != ONNX_TYPE_FLOAT) || values.shape.size() != 1)
    fail("values must be float32 or float16 of rank 1");
  int64_t elements = 1;
  for (const int64_t size : weight_shape) elements *= size;
  const Bitmap bitmap = {
      static_cast<const uint8_t*>(mask.data), mask.shape[0], values.data, half, values.shape[0], elements};
  bitmap.check();
  return bitmap;
}

WeightShape weight_shape(const ConvAttributes& conv) {
  int64_t taps = 1;
  for (const ConvAxis& axis : conv.axes) taps *= axis.kernel;
  return {conv.group, conv.weight_shape[0] / conv.group, conv.weight_shape[1], taps};
}

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

// Throws Error where the tensor has more elements than memory has addresses.
void check_size(const std::vector<int64_t>& shape) {
  int64_t bytes = sizeof(float);
  for (const int64_t size : shape) {
    if (size == 0) return;
    if (__builtin_mul_overflow(bytes, size, &bytes)) fail("the output's size overflows: ", text(shape));
  }
}

bool same_map(const ConvShape& a, const ConvShape& b) {
  return a.y.input == b.y.input && a.x.input == b.x.input;  // the rest follows from the node
}

// Calls `work` with its own name for errors: "SparseConvRelu node 'conv1': ...".
template <class Work>
void named(const std::string& label, Work work) {
  try {
    work();
  } catch (const Error& error) {
    fail(label, ": ", error.what());
  }
}

}  // namespace

SparseConv::SparseConv(const SparseConvForm& form, const OrtApi& api, const OrtKernelInfo* info)
    : form_(form), api_(api), label_(std::string(form.name) + " node '" + ort::node_name(api, info) + "'") {
  named(label_, [&] { create(api, info); });
}

void SparseConv::create(const OrtApi& api, const OrtKernelInfo* info) {
  const KernelAttributes attributes(api, info);
  conv_ = ConvAttributes::read(attributes);
  check_stored_form(attributes);
  finish_ = read_finish(form_.activation, attributes);
  if (const auto bias = ort::constant_input(api, info, kBias)) check_bias(*bias, conv_.weight_shape[0]);
  kernel_ = &sparse_conv::kernel_for(chosen_isa());
  const Bitmap bitmap = read_bitmap(api, info, conv_.weight_shape);
  const ConvShape expected = conv_shape(conv_, 1, expected_sizes(conv_, ort::declared_input_shape(api, info, kX)));
  const sparse_conv::Plan plan = sparse_conv::make_plan(*kernel_, expected, bitmap.count, std::nullopt);
  weight_ = pack_blocked_csr(bitmap, weight_shape(conv_), plan.block);
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
  const sparse_conv::Run run(*kernel_, weight_, shape, prepared->plan, finish_, tensors);
  struct Shared {
    const sparse_conv::Run& run;
    std::atomic<bool> out_of_memory = false;
  } shared{run};
  const auto body = [](void* data, size_t task) noexcept {
    auto& s = *static_cast<Shared*>(data);
    if (!s.run.run(static_cast<int64_t>(task))) s.out_of_memory = true;
  };
  if (run.tasks() == 1) {
    body(&shared, 0);
  } else {
    ort::check(api_, api_.KernelContext_ParallelFor(context, body, run.tasks(), 0, &shared));
  }
  if (shared.out_of_memory) fail("out of memory for the kernel's scratch");
}

std::shared_ptr<const SparseConv::Prepared> SparseConv::prepare(const ConvShape& shape) const {
  {
    const std::lock_guard lock(mutex_);
    if (prepared_ && same_map(prepared_->shape, shape)) return prepared_;
  }
  const auto nonzeros = static_cast<int64_t>(weight_.value.size());
  const auto fresh = std::make_shared<const Prepared>(
      Prepared{shape, sparse_conv::make_plan(*kernel_, shape, nonzeros, weight_.block)});
  const std::lock_guard lock(mutex_);
  prepared_ = fresh;
  return fresh;
}

}  // namespace onnxcomp
