#include "ort.h"

#include "error.h"

namespace onnxcomp::ort {

void check(const OrtApi& api, OrtStatus* status) {
  if (status == nullptr) return;
  const std::string message = api.GetErrorMessage(status);
  api.ReleaseStatus(status);
  throw Error(message);
}

bool succeeded(const OrtApi& api, OrtStatus* status) {
  if (status == nullptr) return true;
  api.ReleaseStatus(status);
  return false;
}

std::vector<int64_t> dimensions(const OrtApi& api, const OrtTensorTypeAndShapeInfo* info) {
  size_t rank = 0;
  check(api, api.GetDimensionsCount(info, &rank));
  std::vector<int64_t> shape(rank);
  check(api, api.GetDimensions(info, shape.data(), rank));
  return shape;
}

Tensor tensor(const OrtApi& api, const OrtValue* value) {
  OrtTensorTypeAndShapeInfo* handle = nullptr;
  check(api, api.GetTensorTypeAndShape(value, &handle));
  const TensorInfo info(handle, {&api});
  Tensor result{};
  check(api, api.GetTensorElementType(info.get(), &result.type));
  result.shape = dimensions(api, info.get());
  // The ABI has one accessor for reading and writing; inputs are only read.
  check(api, api.GetTensorMutableData(const_cast<OrtValue*>(value), &result.data));
  return result;
}

Tensor input(const OrtApi& api, const OrtKernelContext* context, size_t index) {
  const OrtValue* value = nullptr;
  check(api, api.KernelContext_GetInput(context, index, &value));
  if (value == nullptr) fail("input ", index, " is missing");
  return tensor(api, value);
}

Tensor output(const OrtApi& api, OrtKernelContext* context, size_t index, const std::vector<int64_t>& shape) {
  OrtValue* value = nullptr;
  check(api, api.KernelContext_GetOutput(context, index, shape.data(), shape.size(), &value));
  if (value == nullptr) fail("output ", index, " could not be allocated");
  return tensor(api, value);
}

std::optional<Tensor> constant_input(const OrtApi& api, const OrtKernelInfo* info, size_t index) {
  int is_constant = 0;
  const OrtValue* value = nullptr;
  check(api, api.KernelInfoGetConstantInput_tensor(info, index, &is_constant, &value));
  if (is_constant == 0 || value == nullptr) return std::nullopt;
  return tensor(api, value);
}

std::vector<int64_t> declared_input_shape(const OrtApi& api, const OrtKernelInfo* info, size_t index) {
  OrtTypeInfo* handle = nullptr;
  if (!succeeded(api, api.KernelInfo_GetInputTypeInfo(info, index, &handle))) return {};
  const std::unique_ptr<OrtTypeInfo, void (*)(OrtTypeInfo*)> type(handle, api.ReleaseTypeInfo);
  const OrtTensorTypeAndShapeInfo* tensor_info = nullptr;
  check(api, api.CastTypeInfoToTensorInfo(type.get(), &tensor_info));
  return tensor_info == nullptr ? std::vector<int64_t>{} : dimensions(api, tensor_info);
}

std::string node_name(const OrtApi& api, const OrtKernelInfo* info) {
  size_t size = 0;
  check(api, api.KernelInfo_GetNodeName(info, nullptr, &size));
  std::string name(size, '\0');
  check(api, api.KernelInfo_GetNodeName(info, name.data(), &size));
  name.resize(size > 0 ? size - 1 : 0);  // the size counts the terminating zero
  return name;
}

}  // namespace onnxcomp::ort
