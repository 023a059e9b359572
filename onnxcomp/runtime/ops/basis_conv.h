// ai.onnxcomp::BasisConv[Add][activation]: Y = activation(Conv(X, W, B) [+ Z]), W = decode(mask, values) * bases.
//
// onnxcomp/formats/basis_conv.py defines the operators; names, inputs and attributes here are that contract.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "abi.h"
#include "kernels/basis_conv/contract.h"
#include "kernels/basis_conv/plan.h"
#include "kernels/basis_conv/weight.h"
#include "kernels/sparse_conv/contract.h"
#include "kernels/sparse_conv/threads.h"
#include "ops/conv_attributes.h"
#include "ops/last_plan.h"
#include "ops/packed_weight.h"

namespace onnxcomp {

// What an operator's name says.
struct BasisConvForm {
  const char* name;
  bool residual;
  sparse_conv::Activation activation;

  size_t inputs() const { return residual ? 6 : 5; }
};

class BasisConv {
 public:
  using Form = BasisConvForm;
  static constexpr ONNXTensorElementDataType kInputTypes[] = {ONNX_TYPE_FLOAT, ONNX_TYPE_FLOAT, ONNX_TYPE_UINT8,
                                                              ONNX_TYPE_ANY,   ONNX_TYPE_FLOAT, ONNX_TYPE_FLOAT};

  // Checks the node's attributes and constants and packs its weight. Throws Error that names the node.
  BasisConv(const BasisConvForm& form, const OrtApi& api, const OrtKernelInfo* info);

  // Computes one output. Throws Error that names the node. May run in several threads at once.
  void compute(OrtKernelContext* context) const;

  // Sets Y's shape from X's, the bases' and the attributes, as far as they are known. Throws Error on attributes that
  // make no convolution.
  static void infer_shape(const OrtApi& api, OrtShapeInferContext* context);

 private:
  struct Packed {
    basis_conv::Weight weight;
    LastPlan<basis_conv::Plan> plan;
  };

  void create(const OrtApi& api, const OrtKernelInfo* info);
  std::unique_ptr<const Packed> pack(const ort::Tensor& values) const;
  void run(OrtKernelContext* context) const;

  const BasisConvForm& form_;
  const OrtApi& api_;
  std::string label_;  // how messages name the node
  ConvAttributes conv_;
  sparse_conv::Finish finish_;
  const sparse_conv::Kernel& kernel_;
  const basis_conv::Kernel& basis_kernel_;
  std::vector<int64_t> coefficients_shape_;
  sparse_conv::ConvShape expected_;  // what the weight is packed for
  ort::Tensor bases_;                // constants of the model
  ort::Tensor mask_;
  PackedWeight<Packed> weight_;
  mutable sparse_conv::Threads threads_;
};

}  // namespace onnxcomp
