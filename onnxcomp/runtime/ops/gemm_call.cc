#include "ops/gemm_call.h"

#include <algorithm>
#include <vector>

#include "ops/dimensions.h"
#include "ops/node.h"

namespace onnxcomp {
namespace {

constexpr size_t kX = 0;

}  // namespace

MatrixShape read_matrix_shape(const Attributes& attributes) {
  const auto shape = attributes.integers("weight_shape");
  if (!shape) fail("attribute weight_shape is missing");
  if (shape->size() != 2) fail("weight_shape has ", shape->size(), " dimensions, a matrix has 2");
  const MatrixShape matrix = {(*shape)[0], (*shape)[1]};
  if (matrix.outputs < 1 || matrix.columns < 1) fail("weight_shape ", text(*shape), " has a dimension below 1");
  int64_t elements = 0;
  if (__builtin_mul_overflow(matrix.outputs, matrix.columns, &elements) || elements > kLargestWeight)
    fail("weight_shape ", text(*shape), " has more than ", kLargestWeight, " elements");
  return matrix;
}

int64_t declared_rows(const OrtApi& api, const OrtKernelInfo* info) {
  const std::vector<int64_t> shape = ort::declared_input_shape(api, info, kX);
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) {
    if (shape[i] < 1 || __builtin_mul_overflow(rows, shape[i], &rows)) return 1;
  }
  return rows;
}

GemmCall GemmCall::read(const OrtApi& api, OrtKernelContext* context, const MatrixShape& weight, size_t bias_index,
                        bool any_rank) {
  const ort::Tensor x = ort::input(api, context, kX);
  const ort::Tensor bias = ort::input(api, context, bias_index);
  if (any_rank ? x.shape.empty() : x.shape.size() != 2)
    fail("X has shape ", text(x.shape), ", a rank of ", any_rank ? "1 or more" : "2", " is needed");
  if (x.shape.back() != weight.columns)
    fail("X has shape ", text(x.shape), ", the weight needs ", weight.columns, " columns");
  check_bias(bias, weight.outputs);
  std::vector<int64_t> y_shape = x.shape;
  y_shape.back() = weight.outputs;
  check_size(y_shape);
  const ort::Tensor y = ort::output(api, context, 0, y_shape);
  const bool empty = std::find(y_shape.begin(), y_shape.end(), 0) != y_shape.end();
  int64_t rows = empty ? 0 : 1;
  for (size_t i = 0; i + 1 < x.shape.size(); ++i) rows *= x.shape[i];
  return {{rows, static_cast<const float*>(x.data), static_cast<const float*>(bias.data), static_cast<float*>(y.data)},
          empty};
}

void infer_gemm_shape(const OrtApi& api, OrtShapeInferContext* context) {
  const MatrixShape weight = read_matrix_shape(ShapeInferenceAttributes(api, context));
  std::vector<Dimension> y = input_dimensions(api, context, kX);
  if (y.empty()) return;
  y.back() = {weight.outputs, ""};
  set_output_dimensions(api, context, y);
}

}  // namespace onnxcomp
