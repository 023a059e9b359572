// ai.onnxcomp::SparseGemm[activation] and SparseMatMul[activation]: Y = activation(X * decode(mask, values)^T + B).
//
// onnxcomp/formats/sparse_gemm.py defines the operators; names, inputs and attributes here are that contract.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "abi.h"
#include "kernels/sparse_gemm/run.h"
#include "ops/packed_weight.h"
#include "packing/bitmap.h"

namespace onnxcomp {

// What an operator's name says.
struct SparseGemmForm {
  const char* name;
  bool any_rank;  // X may have any number of leading dimensions; otherwise it is a matrix
  sparse_conv::Activation activation;

  static constexpr size_t inputs() { return 4; }
};

// The weight in either form, packed when it is asked for: which one is best depends on the rows of X.
class PackedMatrix {
 public:
  // `stored` is checked; what it points to is read until both are packed.
  PackedMatrix(const Bitmap& stored, int64_t columns) : stored_(stored), columns_(columns) {}
  const LaneWindows& windows() const;
  const ColumnBlocks& blocks() const;

 private:
  Bitmap stored_;
  int64_t columns_;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<const LaneWindows> windows_;
  mutable std::unique_ptr<const ColumnBlocks> blocks_;
};

class SparseGemm {
 public:
  using Form = SparseGemmForm;
  static constexpr ONNXTensorElementDataType kInputTypes[] = {ONNX_TYPE_FLOAT, ONNX_TYPE_UINT8, ONNX_TYPE_ANY,
                                                              ONNX_TYPE_FLOAT};

  // Checks the node's attributes and constants and packs its weight. Throws Error that names the node.
  SparseGemm(const Form& form, const OrtApi& api, const OrtKernelInfo* info);

  // Computes one output. Throws Error that names the node. May run in several threads at once.
  void compute(OrtKernelContext* context) const;

  // Sets Y's shape from X's as far as it is known. Throws Error on attributes that make no matrix.
  static void infer_shape(const OrtApi& api, OrtShapeInferContext* context);

 private:
  void create(const OrtApi& api, const OrtKernelInfo* info);
  void run(OrtKernelContext* context) const;
  void run(OrtKernelContext* context, const PackedMatrix& weight, const sparse_gemm::Tensors& tensors) const;
  std::unique_ptr<const PackedMatrix> pack(const ort::Tensor& values) const;
  bool by_windows(int64_t rows) const;

  const Form& form_;
  const OrtApi& api_;
  std::string label_;  // how messages name the node
  int64_t outputs_ = 0;
  int64_t columns_ = 0;
  const sparse_gemm::Kernel* kernel_ = nullptr;
  sparse_gemm::LastStage last_{};
  ort::Tensor mask_{};  // a constant of the model
  PackedWeight<PackedMatrix> weight_;
};

}  // namespace onnxcomp
