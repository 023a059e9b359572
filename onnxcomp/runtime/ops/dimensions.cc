#include "ops/dimensions.h"

#include <atomic>

#include "ort.h"

namespace onnxcomp {
namespace {

// A name that no dimension has: the runtime takes equal names for equal sizes, in whatever session.
std::string fresh_name() {
  static std::atomic<uint64_t> count = 0;
  return "onnxcomp_unknown_" + std::to_string(count++);
}

}  // namespace

std::vector<Dimension> input_dimensions(const OrtApi& api, OrtShapeInferContext* context, size_t index) {
  OrtTensorTypeAndShapeInfo* info = nullptr;  // borrowed
  ort::check(api, api.ShapeInferContext_GetInputTypeShape(context, index, &info));
  const std::vector<int64_t> sizes = ort::dimensions(api, info);
  std::vector<const char*> names(sizes.size());
  ort::check(api, api.GetSymbolicDimensions(info, names.data(), names.size()));
  std::vector<Dimension> result;
  for (size_t i = 0; i < sizes.size(); ++i) result.push_back({sizes[i], names[i] == nullptr ? "" : names[i]});
  return result;
}

void set_output_dimensions(const OrtApi& api, OrtShapeInferContext* context, const std::vector<Dimension>& y) {
  std::vector<int64_t> sizes;
  std::vector<std::string> names;
  for (const Dimension& dimension : y) {
    sizes.push_back(dimension.size);
    names.push_back(dimension.known() ? dimension.name : fresh_name());
  }
  std::vector<const char*> symbols;
  for (const std::string& name : names) symbols.push_back(name.c_str());
  OrtTensorTypeAndShapeInfo* handle = nullptr;
  ort::check(api, api.CreateTensorTypeAndShapeInfo(&handle));
  const ort::TensorInfo info(handle, {&api});
  ort::check(api, api.SetTensorElementType(info.get(), ONNX_TYPE_FLOAT));
  ort::check(api, api.SetDimensions(info.get(), sizes.data(), sizes.size()));
  ort::check(api, api.SetSymbolicDimensions(info.get(), symbols.data(), symbols.size()));
  ort::check(api, api.ShapeInferContext_SetOutputTypeShape(context, 0, info.get()));
}

}  // namespace onnxcomp
