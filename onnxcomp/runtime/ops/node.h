// What the operators share: constants and attributes of a node, checked, and errors that name it.
#pragma once

#include <string>
#include <vector>

#include "abi.h"
#include "error.h"
#include "kernels/sparse_conv/contract.h"
#include "ops/attributes.h"
#include "ort.h"
#include "packing/bitmap.h"

namespace onnxcomp {

// A weight of 2^31 elements is a mask of 256 MiB; more does not fit into a protobuf beside its values.
constexpr int64_t kLargestWeight = int64_t{1} << 31;

// Runs `work`; its errors begin with `label`: "SparseConvRelu node 'conv1': ...".
template <class Work>
void named(const std::string& label, Work work) {
  try {
    work();
  } catch (const Error& error) {
    fail(label, ": ", error.what());
  }
}

// The attribute, a number. Throws Error where it is missing.
float required_real(const Attributes& attributes, const char* name);

// Throws Error where the attribute `to` is not what weights are decoded to: float32.
void check_decoded_type(const Attributes& attributes);

// The activation with its attributes: clip_min and clip_max, or alpha.
sparse_conv::Finish read_finish(sparse_conv::Activation activation, const Attributes& attributes);

// Input `index`, a constant of the model. Throws Error, calling it `name`, where it is not.
ort::Tensor required_constant(const OrtApi& api, const OrtKernelInfo* info, size_t index, const char* name);

// A mask of `elements` bits and its values, not held against each other. Points into the tensors.
Bitmap read_mask_and_values(const ort::Tensor& mask, const ort::Tensor& values, int64_t elements);

// The checked weight of `elements` elements. Points into the tensors.
Bitmap read_bitmap(const ort::Tensor& mask, const ort::Tensor& values, int64_t elements);

// Throws Error where `bias` is not float32 [outputs].
void check_bias(const ort::Tensor& bias, int64_t outputs);

// Throws Error where an output of `shape` has more elements than memory has addresses.
void check_size(const std::vector<int64_t>& shape);

}  // namespace onnxcomp
