// ONNX Runtime's C ABI in C++ terms: statuses become Error, handles own what they must release.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "abi.h"

namespace onnxcomp::ort {

// Throws Error with the status' message, and releases it; nothing where `status` is null.
void check(const OrtApi& api, OrtStatus* status);

// Whether `status` is success; releases it.
bool succeeded(const OrtApi& api, OrtStatus* status);

struct ReleaseTensorInfo {
  const OrtApi* api;
  void operator()(OrtTensorTypeAndShapeInfo* info) const { api->ReleaseTensorTypeAndShapeInfo(info); }
};
using TensorInfo = std::unique_ptr<OrtTensorTypeAndShapeInfo, ReleaseTensorInfo>;

// Dimensions; -1 where not known.
std::vector<int64_t> dimensions(const OrtApi& api, const OrtTensorTypeAndShapeInfo* info);

// A tensor's type, shape and contents; the contents belong to the runtime. `data` is null where the tensor is empty.
struct Tensor {
  ONNXTensorElementDataType type;
  std::vector<int64_t> shape;
  void* data;
};
Tensor tensor(const OrtApi& api, const OrtValue* value);

Tensor input(const OrtApi& api, const OrtKernelContext* context, size_t index);
Tensor output(const OrtApi& api, OrtKernelContext* context, size_t index, const std::vector<int64_t>& shape);

// Input `index` where it is a constant of the model, which then lives as long as the session.
std::optional<Tensor> constant_input(const OrtApi& api, const OrtKernelInfo* info, size_t index);

// The shape the model declares or the runtime inferred for input `index`; empty where there is none.
std::vector<int64_t> declared_input_shape(const OrtApi& api, const OrtKernelInfo* info, size_t index);

std::string node_name(const OrtApi& api, const OrtKernelInfo* info);

}  // namespace onnxcomp::ort
