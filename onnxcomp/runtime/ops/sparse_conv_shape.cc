#include "ops/sparse_conv_shape.h"

#include <optional>
#include <string>
#include <vector>

#include "ops/conv_attributes.h"
#include "ort.h"

namespace onnxcomp {
namespace {

// A dimension: its size, or -1 and a name, or -1 and no name where nothing is known.
struct Dimension {
  int64_t size;
  std::string name;

  bool known() const { return size >= 0 || !name.empty(); }
};

std::vector<Dimension> read_dimensions(const OrtApi& api, const OrtTensorTypeAndShapeInfo* info) {
  const std::vector<int64_t> sizes = ort::dimensions(api, info);
  std::vector<const char*> names(sizes.size());
  ort::check(api, api.GetSymbolicDimensions(info, names.data(), names.size()));
  std::vector<Dimension> result;
  for (size_t i = 0; i < sizes.size(); ++i) result.push_back({sizes[i], names[i] == nullptr ? "" : names[i]});
  return result;
}

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
  if (input.name.empty()) return input;
  return {-1, output_name(conv, axis, input.name)};
}

void set_output(const OrtApi& api, OrtShapeInferContext* context, const std::vector<Dimension>& y) {
  std::vector<int64_t> sizes;
  std::vector<const char*> names;
  for (const Dimension& dimension : y) {
    sizes.push_back(dimension.size);
    names.push_back(dimension.name.c_str());
  }
  OrtTensorTypeAndShapeInfo* handle = nullptr;
  ort::check(api, api.CreateTensorTypeAndShapeInfo(&handle));
  const ort::TensorInfo info(handle, {&api});
  ort::check(api, api.SetTensorElementType(info.get(), ONNX_TYPE_FLOAT));
  ort::check(api, api.SetDimensions(info.get(), sizes.data(), sizes.size()));
  ort::check(api, api.SetSymbolicDimensions(info.get(), names.data(), names.size()));
  ort::check(api, api.ShapeInferContext_SetOutputTypeShape(context, 0, info.get()));
}

}  // namespace

void infer_sparse_conv_shape(const OrtApi& api, OrtShapeInferContext* context) {
  const auto conv = ConvAttributes::read(ShapeInferenceAttributes(api, context));
  OrtTensorTypeAndShapeInfo* x_info = nullptr;  // borrowed
  ort::check(api, api.ShapeInferContext_GetInputTypeShape(context, 0, &x_info));
  const std::vector<Dimension> x = read_dimensions(api, x_info);
  if (x.size() != conv.weight_shape.size()) return;
  std::vector<Dimension> y = {x[0], {conv.weight_shape[0], ""}};
  for (size_t i = 0; i < conv.axes.size(); ++i) y.push_back(output_dimension(conv, i, x[2 + i]));
  for (const Dimension& dimension : y) {
    if (!dimension.known()) return;  // the ABI has no way to say "some size"
  }
  set_output(api, context, y);
}

}  // namespace onnxcomp
