#include "ops/conv_attributes.h"

#include <algorithm>
#include <utility>

#include "ops/node.h"

namespace onnxcomp {
namespace {

constexpr int64_t kLargest = INT32_MAX;
// Bounds the scratch of one tile; the largest kernels in use (spectrograms) have a few thousand taps.
constexpr int64_t kLargestKernel = int64_t{1} << 16;

void check_weight_shape(const std::vector<int64_t>& shape) {
  if (shape.size() != 3 && shape.size() != 4)
    fail("the weight has ", shape.size(), " dimensions: only 1-D and 2-D convolutions (3 or 4) are supported");
  int64_t elements = 1;
  int64_t taps = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 1) fail("the weight's shape ", text(shape), " has a dimension below 1");
    if (__builtin_mul_overflow(elements, shape[i], &elements) || elements > kLargestWeight)
      fail("the weight's shape ", text(shape), " has more than ", kLargestWeight, " elements");
    if (i >= 2) taps *= shape[i];
  }
  if (taps > kLargestKernel) fail("the weight's shape ", text(shape), " has more than ", kLargestKernel, " taps");
}

std::vector<int64_t> read_list(const Attributes& attributes, const char* name, size_t count, int64_t least) {
  const auto given = attributes.integers(name);
  if (!given) return std::vector<int64_t>(count, least);
  if (given->size() != count) fail(name, " has ", given->size(), " values, the weight's shape needs ", count);
  for (const int64_t value : *given)
    if (value < least || value > kLargest) fail(name, " holds ", value, ", outside ", least, " to ", kLargest);
  return *given;
}

AutoPad read_auto_pad(const Attributes& attributes) {
  const std::string name = attributes.string("auto_pad").value_or("NOTSET");
  if (name == "NOTSET" || name.empty()) return AutoPad::notset;
  if (name == "SAME_UPPER") return AutoPad::same_upper;
  if (name == "SAME_LOWER") return AutoPad::same_lower;
  if (name == "VALID") return AutoPad::valid;
  fail("auto_pad is '", name, "': use NOTSET, SAME_UPPER, SAME_LOWER or VALID");
}

void check_kernel_shape(const Attributes& attributes, const std::vector<int64_t>& weight_shape) {
  const auto kernel = attributes.integers("kernel_shape");
  if (!kernel) return;
  if (!std::equal(kernel->begin(), kernel->end(), weight_shape.begin() + 2, weight_shape.end()))
    fail("kernel_shape ", text(*kernel), " does not agree with the weight's shape ", text(weight_shape));
}

}  // namespace

std::vector<int64_t> read_weight_shape(const Attributes& attributes) {
  const auto shape = attributes.integers("weight_shape");
  if (!shape) fail("attribute weight_shape is missing");
  return *shape;
}

ConvAttributes ConvAttributes::read(const Attributes& attributes, std::vector<int64_t> weight_shape) {
  check_weight_shape(weight_shape);
  ConvAttributes conv{};
  conv.weight_shape = std::move(weight_shape);
  check_kernel_shape(attributes, conv.weight_shape);
  const size_t rank = conv.weight_shape.size() - 2;
  const auto strides = read_list(attributes, "strides", rank, 1);
  const auto dilations = read_list(attributes, "dilations", rank, 1);
  const auto pads = read_list(attributes, "pads", 2 * rank, 0);
  for (size_t i = 0; i < rank; ++i)
    conv.axes.push_back({conv.weight_shape[2 + i], strides[i], dilations[i], pads[i], pads[rank + i]});
  conv.auto_pad = read_auto_pad(attributes);
  conv.group = attributes.integer("group").value_or(1);
  const int64_t outputs = conv.weight_shape[0];
  if (conv.group < 1 || outputs % conv.group != 0)
    fail("group ", conv.group, " does not divide the ", outputs, " output channels");
  if (conv.weight_shape[1] > kLargestWeight / conv.group) fail("group ", conv.group, " needs too many input channels");
  return conv;
}

ConvAttributes::Extent ConvAttributes::extent(size_t axis, int64_t size) const {
  const ConvAxis& a = axes[axis];
  if (auto_pad == AutoPad::same_upper || auto_pad == AutoPad::same_lower) {
    const int64_t outputs = (size + a.stride - 1) / a.stride;
    // Negative where the stride skips more than the kernel covers. The runtime's own Conv then crops, one element less
    // than the formula says (measured on 1.20 to 1.31; 1.17 crops that one too), and the two must agree.
    int64_t padding = (outputs - 1) * a.stride + a.extent() - size;
    padding += padding < 0;
    return {(padding + (auto_pad == AutoPad::same_lower)) / 2, outputs};
  }
  const bool padded = auto_pad == AutoPad::notset;
  const int64_t pad_begin = padded ? a.pad_begin : 0;
  const int64_t available = size + pad_begin + (padded ? a.pad_end : 0);
  if (available < a.extent())
    fail("X has ", size, " elements along spatial axis ", axis, ", with padding ", available,
         ", fewer than the kernel's ", a.extent());
  return {pad_begin, (available - a.extent()) / a.stride + 1};
}

}  // namespace onnxcomp
