// What fully connected operators share: the weight's shape, a run's tensors, and Y's shape.
#pragma once

#include <cstdint>

#include "abi.h"
#include "kernels/sparse_gemm/run.h"
#include "ops/attributes.h"

namespace onnxcomp {

struct MatrixShape {
  int64_t outputs;
  int64_t columns;
};

// The attribute weight_shape. Throws Error where it is missing or makes no matrix.
MatrixShape read_matrix_shape(const Attributes& attributes);

// Rows of X, input 0, as a matrix, from all of its dimensions but the last as the model declares them; 1 where it does
// not.
int64_t declared_rows(const OrtApi& api, const OrtKernelInfo* info);

// One run of a node whose input 0 is X and whose output is Y.
struct GemmCall {
  sparse_gemm::Tensors tensors;
  bool empty;  // Y has no elements: nothing is to be done

  // Checks the inputs and allocates the output. Throws Error where they do not fit the weight. `any_rank`: X may have any
  // number of leading dimensions; otherwise it is a matrix.
  static GemmCall read(const OrtApi& api, OrtKernelContext* context, const MatrixShape& weight, size_t bias,
                       bool any_rank);
};

// Sets Y's shape from X's as far as it is known. Throws Error on attributes that make no matrix.
void infer_gemm_shape(const OrtApi& api, OrtShapeInferContext* context);

}  // namespace onnxcomp
