// ai.onnxcomp::UnifiedGemm[activation] and UnifiedMatMul[activation]: Y = activation(X * W^T + B), W in blocks of one
// magnitude each.
//
// onnxcomp/formats/unified_gemm.py defines the operators; names, inputs and attributes here are that contract.
#pragma once

#include <optional>
#include <string>

#include "abi.h"
#include "kernels/sign_gemm/contract.h"
#include "kernels/sparse_gemm/run.h"
#include "ops/gemm_call.h"
#include "ops/sparse_matrix.h"
#include "packing/sign_panels.h"
#include "packing/sign_sums.h"

namespace onnxcomp {

// What an operator's name says.
struct UnifiedGemmForm {
  const char* name;
  bool any_rank;  // X may have any number of leading dimensions; otherwise it is a matrix
  sparse_conv::Activation activation;

  static constexpr size_t inputs() { return 6; }
};

class UnifiedGemm {
 public:
  using Form = UnifiedGemmForm;
  static constexpr ONNXTensorElementDataType kInputTypes[] = {ONNX_TYPE_FLOAT, ONNX_TYPE_UINT8, ONNX_TYPE_ANY,
                                                              ONNX_TYPE_UINT8, ONNX_TYPE_ANY,   ONNX_TYPE_FLOAT};

  // Checks the node's attributes and constants and packs its weight. Throws Error that names the node.
  UnifiedGemm(const Form& form, const OrtApi& api, const OrtKernelInfo* info);

  // Computes one output. Throws Error that names the node. May run in several threads at once.
  void compute(OrtKernelContext* context) const;

  // Sets Y's shape from X's as far as it is known. Throws Error on attributes that make no matrix.
  static void infer_shape(const OrtApi& api, OrtShapeInferContext* context) { infer_gemm_shape(api, context); }

 private:
  void create(const OrtApi& api, const OrtKernelInfo* info);
  void run(OrtKernelContext* context) const;

  const Form& form_;
  const OrtApi& api_;
  std::string label_;  // how messages name the node
  const sign_gemm::Kernel& kernel_;
  MatrixShape shape_{};
  sparse_gemm::LastStage last_{};
  std::optional<SignPanels> panels_;  // where all blocks of 4x4 have one magnitude; otherwise the weight is decoded
  std::optional<WrittenWeight> decoded_;
  std::optional<SparseMatrix> sparse_;
};

}  // namespace onnxcomp
