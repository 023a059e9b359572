// ai.onnxcomp::[Block]SparseConv[Add][activation]: Y = activation(Conv(X, decode(mask, values), B) [+ Z]).
//
// onnxcomp/formats/sparse_conv.py defines the operators; names, inputs and attributes here are that contract.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "abi.h"
#include "kernels/channel_conv/contract.h"
#include "kernels/channel_conv/plan.h"
#include "kernels/sparse_conv/run.h"
#include "kernels/sparse_conv/threads.h"
#include "ops/conv_attributes.h"
#include "ops/conv_call.h"
#include "ops/last_plan.h"
#include "ops/packed_weight.h"
#include "ops/stored_weight.h"
#include "packing/blocked_csr.h"

namespace onnxcomp {

// What an operator's name says.
struct SparseConvForm {
  const char* name;
  bool blocks;  // how the weight is stored
  bool residual;
  sparse_conv::Activation activation;

  size_t inputs() const { return residual ? 5 : 4; }
};

class SparseConv {
 public:
  using Form = SparseConvForm;
  static constexpr ONNXTensorElementDataType kInputTypes[] = {ONNX_TYPE_FLOAT, ONNX_TYPE_UINT8, ONNX_TYPE_ANY,
                                                              ONNX_TYPE_FLOAT, ONNX_TYPE_FLOAT};

  // Checks the node's attributes and constants and packs its weight. Throws Error that names the node.
  SparseConv(const SparseConvForm& form, const OrtApi& api, const OrtKernelInfo* info);

  // Computes one output. Throws Error that names the node. May run in several threads at once.
  void compute(OrtKernelContext* context) const;

  // Sets Y's shape from X's and the attributes, as far as X's is known. Throws Error on attributes that make no
  // convolution.
  static void infer_shape(const OrtApi& api, OrtShapeInferContext* context);

 private:
  using AnyPlan = std::variant<sparse_conv::Plan, channel_conv::Plan>;

  struct Packed {
    std::optional<channel_conv::Weight> channels;  // of a structure that these kernels are made for
    BlockedCsr elements;                           // otherwise
    LastPlan<AnyPlan> plan;
  };

  void create(const OrtApi& api, const OrtKernelInfo* info);
  std::unique_ptr<const Packed> pack(const ort::Tensor& values) const;
  void run(OrtKernelContext* context) const;
  void run(OrtKernelContext* context, const Packed& weight, const ConvCall& call) const;

  const SparseConvForm& form_;
  const OrtApi& api_;
  std::string label_;  // how messages name the node
  ConvAttributes conv_;
  sparse_conv::Finish finish_;
  const sparse_conv::Kernel* kernel_;
  const channel_conv::Kernel* channel_kernel_;  // null where this CPU has none
  StoredForm stored_form_;
  sparse_conv::ConvShape expected_;  // what the weight is packed for
  ort::Tensor mask_;                 // a constant of the model
  PackedWeight<Packed> weight_;
  mutable sparse_conv::Threads threads_;
};

}  // namespace onnxcomp
