// ai.onnxcomp::UnifiedConv[Add][activation]: Y = activation(Conv(X, W, B) [+ Z]), W in blocks of one magnitude each.
//
// onnxcomp/formats/unified_conv.py defines the operators; names, inputs and attributes here are that contract.
#pragma once

#include <string>

#include "abi.h"
#include "kernels/sparse_conv/contract.h"
#include "kernels/sparse_conv/plan.h"
#include "kernels/sparse_conv/threads.h"
#include "ops/conv_attributes.h"
#include "ops/last_plan.h"
#include "packing/blocked_csr.h"

namespace onnxcomp {

// What an operator's name says.
struct UnifiedConvForm {
  const char* name;
  bool residual;
  sparse_conv::Activation activation;

  size_t inputs() const { return residual ? 7 : 6; }
};

class UnifiedConv {
 public:
  using Form = UnifiedConvForm;
  static constexpr ONNXTensorElementDataType kInputTypes[] = {ONNX_TYPE_FLOAT, ONNX_TYPE_UINT8, ONNX_TYPE_ANY,
                                                              ONNX_TYPE_UINT8, ONNX_TYPE_ANY,   ONNX_TYPE_FLOAT,
                                                              ONNX_TYPE_FLOAT};

  // Checks the node's attributes and constants and packs its weight. Throws Error that names the node.
  UnifiedConv(const UnifiedConvForm& form, const OrtApi& api, const OrtKernelInfo* info);

  // Computes one output. Throws Error that names the node. May run in several threads at once.
  void compute(OrtKernelContext* context) const;

  // Sets Y's shape from X's and the attributes, as far as they are known. Throws Error on attributes that make no
  // convolution.
  static void infer_shape(const OrtApi& api, OrtShapeInferContext* context);

 private:
  void create(const OrtApi& api, const OrtKernelInfo* info);
  void run(OrtKernelContext* context) const;

  const UnifiedConvForm& form_;
  const OrtApi& api_;
  std::string label_;  // how messages name the node
  ConvAttributes conv_;
  sparse_conv::Finish finish_;
  const sparse_conv::Kernel& kernel_;
  BlockedCsr weight_;
  mutable sparse_conv::Threads threads_;
  LastPlan<sparse_conv::Plan> plan_;
};

}  // namespace onnxcomp
