#include "ops/node.h"

#include <cmath>
#include <limits>

namespace onnxcomp {

using sparse_conv::Activation;
using sparse_conv::Finish;

float required_real(const Attributes& attributes, const char* name) {
  const auto value = attributes.real(name);
  if (!value) fail("attribute ", name, " is missing");
  if (std::isnan(*value)) fail("attribute ", name, " is not a number");
  return *value;
}

void check_decoded_type(const Attributes& attributes) {
  const auto to = attributes.integer("to");
  if (!to) fail("attribute to is missing");
  if (*to != ONNX_TYPE_FLOAT) fail("to is ", *to, ": weights are decoded to float32 (1) only");
}

Finish read_finish(Activation activation, const Attributes& attributes) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Finish finish{activation, -kInfinity, kInfinity, 0};
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

ort::Tensor required_constant(const OrtApi& api, const OrtKernelInfo* info, size_t index, const char* name) {
  const auto tensor = ort::constant_input(api, info, index);
  if (!tensor) fail("input ", name, " must be a constant of the model (an initializer)");
  return *tensor;
}

Bitmap read_mask_and_values(const ort::Tensor& mask, const ort::Tensor& values, int64_t elements) {
  if (mask.type != ONNX_TYPE_UINT8 || mask.shape.size() != 1) fail("mask must be uint8 of rank 1");
  const bool half = values.type == ONNX_TYPE_FLOAT16;
  if ((!half && values.type != ONNX_TYPE_FLOAT) || values.shape.size() != 1)
    fail("values must be float32 or float16 of rank 1");
  return {static_cast<const uint8_t*>(mask.data), mask.shape[0], values.data, half, values.shape[0], elements};
}

Bitmap read_bitmap(const ort::Tensor& mask, const ort::Tensor& values, int64_t elements) {
  const Bitmap bitmap = read_mask_and_values(mask, values, elements);
  bitmap.check();
  return bitmap;
}

void check_bias(const ort::Tensor& bias, int64_t outputs) {
  if (bias.type != ONNX_TYPE_FLOAT) fail("B must be float32");
  if (bias.shape != std::vector<int64_t>{outputs})
    fail("B has shape ", text(bias.shape), ", the weight has ", outputs, " outputs");
}

void check_size(const std::vector<int64_t>& shape) {
  int64_t bytes = sizeof(float);
  for (const int64_t size : shape) {
    if (size == 0) return;
    if (__builtin_mul_overflow(bytes, size, &bytes)) fail("the output's size overflows: ", text(shape));
  }
}

}  // namespace onnxcomp
