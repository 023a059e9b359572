#include "ops/stored_unified.h"

#include <cmath>

#include "ops/node.h"

namespace onnxcomp {
namespace {

struct Block {
  int64_t outputs;
  int64_t channels;
};

Block read_block(const Attributes& attributes, const WeightShape& shape) {
  const auto block = attributes.integers("block");
  if (!block) fail("attribute block is missing");
  if (block->size() != 2 || (*block)[0] < 1 || (*block)[1] < 1)
    fail("block is ", text(*block), ": two numbers of at least 1 are needed");
  const int64_t outputs = (*block)[0];
  const int64_t channels = (*block)[1];
  if (outputs > kMostOfUnifiedBlock || channels > kMostOfUnifiedBlock || outputs * channels > kMostOfUnifiedBlock)
    fail("block ", text(*block), " has more than ", kMostOfUnifiedBlock, " weights");
  if (shape.groups * shape.outputs % outputs != 0 || shape.channels % channels != 0)
    fail("blocks of ", text(*block), " do not divide ", shape.groups * shape.outputs, " output channels and ",
         shape.channels, " input channels of a group");
  return {outputs, channels};
}

std::vector<float> read_levels(const Attributes& attributes) {
  const auto levels = attributes.reals("levels");
  if (!levels) fail("attribute levels is missing");
  const auto count = static_cast<int64_t>(levels->size());
  if (count < 2 || count > kMostLevels) fail("levels has ", count, " values, 2 to ", kMostLevels, " are needed");
  for (const float level : *levels) {
    if (!std::isfinite(level)) fail("levels has the value ", level, ": levels are finite");
  }
  return *levels;
}

Floats read_floats(const OrtApi& api, const OrtKernelInfo* info, size_t index, const char* name) {
  const ort::Tensor tensor = required_constant(api, info, index, name);
  const bool half = tensor.type == ONNX_TYPE_FLOAT16;
  if ((!half && tensor.type != ONNX_TYPE_FLOAT) || tensor.shape.size() != 1)
    fail(name, " must be float32 or float16 of rank 1");
  return {tensor.data, half, tensor.shape[0]};
}

ort::Tensor read_bytes(const OrtApi& api, const OrtKernelInfo* info, size_t index, const char* name, size_t rank) {
  ort::Tensor tensor = required_constant(api, info, index, name);
  if (tensor.type != ONNX_TYPE_UINT8 || tensor.shape.size() != rank) fail(name, " must be uint8 of rank ", rank);
  return tensor;
}

}  // namespace

UnifiedWeight read_unified_weight(const OrtApi& api, const OrtKernelInfo* info, size_t first,
                                  const WeightShape& shape) {
  const KernelAttributes attributes(api, info);
  check_decoded_type(attributes);
  const Block block = read_block(attributes, shape);
  const ort::Tensor kinds = read_bytes(api, info, first, "kinds", 1);
  const Floats scales = read_floats(api, info, first + 1, "scales");
  const ort::Tensor digits = read_bytes(api, info, first + 2, "digits", 2);
  return UnifiedWeight(
      {block.outputs, block.channels, read_levels(attributes), static_cast<const uint8_t*>(kinds.data), kinds.shape[0],
       scales, static_cast<const uint8_t*>(digits.data), digits.shape[0], digits.shape[1],
       read_floats(api, info, first + 3, "values")},
      shape);
}

}  // namespace onnxcomp
