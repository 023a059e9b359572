#include "ops/conv_shape.h"

#include <string>
#include <vector>

#include "ops/dimensions.h"

namespace onnxcomp {
namespace {

// Equal names must mean equal sizes, so the name states the whole formula.
std::string output_name(const ConvAttributes& conv, size_t axis, const std::string& input) {
  const ConvAxis& a = conv.axes[axis];
  if (conv.auto_pad == AutoPad::same_upper || conv.auto_pad == AutoPad::same_lower)
    return a.stride == 1 ? input : "ceil(" + input + "/" + std::to_string(a.stride) + ")";
  const int64_t added = (conv.auto_pad == AutoPad::valid ? 0 : a.pad_begin + a.pad_end) - a.extent();
  if (a.stride == 1 && added == -1) return input;
  return "floor((" + input + (added < 0 ? "" : "+") + std::to_string(added) + ")/" + std::to_string(a.stride) + ")+1";
}

Dimension output_dimension(const ConvAttributes& conv, size_t axis, const Dimension& input) {
  if (input.size >= 0) return {conv.extent(axis, input.size).outputs, ""};
  if (!input.known()) return input;
  return {-1, output_name(conv, axis, input.name)};
}

}  // namespace

void infer_conv_shape(const OrtApi& api, OrtShapeInferContext* context, const ConvAttributes& conv) {
  std::vector<Dimension> x = input_dimensions(api, context, 0);
  if (x.empty()) x.assign(conv.weight_shape.size(), Dimension::unknown());
  if (x.size() != conv.weight_shape.size()) return;  // refused when the node runs
  std::vector<Dimension> y = {x[0], {conv.weight_shape[0], ""}};
  for (size_t i = 0; i < conv.axes.size(); ++i) y.push_back(output_dimension(conv, i, x[2 + i]));
  set_output_dimensions(api, context, y);
}

}  // namespace onnxcomp
