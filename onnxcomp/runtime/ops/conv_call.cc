#include "ops/conv_call.h"

#include <algorithm>

#include "ops/node.h"
#include "ops/stored_weight.h"

namespace onnxcomp {
namespace {

using sparse_conv::AxisShape;
using sparse_conv::ConvShape;

// Height and width to plan for where the model leaves them open.
constexpr int64_t kTypicalSize = 28;

// `sizes` are X's spatial dimensions.
ConvShape conv_shape(const ConvAttributes& conv, int64_t batch, const std::vector<int64_t>& sizes) {
  const auto along = [&](size_t axis) {
    const ConvAxis& a = conv.axes[axis];
    const auto extent = conv.extent(axis, sizes[axis]);
    return AxisShape{sizes[axis], extent.outputs, a.kernel, a.stride, a.dilation, extent.pad_begin};
  };
  const size_t width = conv.axes.size() - 1;
  const AxisShape flat = {1, 1, 1, 1, 1, 0};
  return {batch, weight_shape(conv), width == 0 ? flat : along(0), along(width)};
}

}  // namespace

ConvShape expected_shape(const ConvAttributes& conv, const OrtApi& api, const OrtKernelInfo* info) {
  const std::vector<int64_t> declared = ort::declared_input_shape(api, info, 0);
  std::vector<int64_t> sizes;
  for (size_t i = 0; i < conv.axes.size(); ++i) {
    const bool known = declared.size() == conv.axes.size() + 2 && declared[2 + i] > 0;
    const int64_t size = known ? declared[2 + i] : kTypicalSize;
    const ConvAxis& a = conv.axes[i];
    const bool fits =
        conv.auto_pad == AutoPad::notset ? size + a.pad_begin + a.pad_end >= a.extent() : size >= a.extent();
    sizes.push_back(fits ? size : a.extent());
  }
  return conv_shape(conv, 1, sizes);
}

ConvCall ConvCall::read(const OrtApi& api, OrtKernelContext* context, const ConvAttributes& conv, size_t bias,
                        std::optional<size_t> residual) {
  const ort::Tensor x = ort::input(api, context, 0);
  const ort::Tensor b = ort::input(api, context, bias);
  const int64_t channels = conv.weight_shape[1] * conv.group;
  const int64_t outputs = conv.weight_shape[0];
  if (x.shape.size() != conv.weight_shape.size())
    fail("X has shape ", text(x.shape), ", a rank of ", conv.weight_shape.size(), " is needed");
  if (x.shape[1] != channels) fail("X has shape ", text(x.shape), ", the weight needs ", channels, " channels");
  check_bias(b, outputs);

  const ConvShape shape = conv_shape(conv, x.shape[0], {x.shape.begin() + 2, x.shape.end()});
  std::vector<int64_t> y_shape = {shape.batch, outputs};
  if (conv.axes.size() == 2) y_shape.push_back(shape.y.output);
  y_shape.push_back(shape.x.output);
  check_size(y_shape);
  ort::Tensor z{};
  if (residual) {
    z = ort::input(api, context, *residual);
    if (z.shape != y_shape) fail("Z has shape ", text(z.shape), ", the convolution's output has ", text(y_shape));
  }
  const ort::Tensor y = ort::output(api, context, 0, y_shape);
  const bool empty = std::find(y_shape.begin(), y_shape.end(), 0) != y_shape.end();
  return {shape,
          {static_cast<const float*>(x.data), static_cast<const float*>(b.data), static_cast<const float*>(z.data),
           static_cast<float*>(y.data)},
          empty};
}

}  // namespace onnxcomp
