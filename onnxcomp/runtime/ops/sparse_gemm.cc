#include "ops/sparse_gemm.h"

#include <algorithm>
#include <atomic>

#include "cpu.h"
#include "kernels/sparse_conv/dispatch.h"
#include "kernels/sparse_gemm/dispatch.h"
#include "ops/dimensions.h"
#include "ops/node.h"

namespace onnxcomp {
namespace {

enum Input : size_t { kX, kMask, kValues, kBias };

struct MatrixShape {
  int64_t outputs;
  int64_t columns;
};

MatrixShape read_weight_shape(const Attributes& attributes) {
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

void check_stored_form(const Attributes& attributes) {
  const auto structure = attributes.string("structure");
  if (!structure) fail("attribute structure is missing");
  if (*structure != "unstructured")
    fail("structure is '", *structure, "', which this operator does not know: only 'unstructured'");
  check_decoded_type(attributes);
}

// Rows of X as a matrix, from all dimensions but the last; 1 where they are not known.
int64_t declared_rows(const std::vector<int64_t>& shape) {
  int64_t rows = 1;
  for (size_t i = 0; i + 1 < shape.size(); ++i) {
    if (shape[i] < 1 || __builtin_mul_overflow(rows, shape[i], &rows)) return 1;
  }
  return rows;
}

}  // namespace

SparseGemm::SparseGemm(const Form& form, const OrtApi& api, const OrtKernelInfo* info)
    : form_(form), api_(api), label_(std::string(form.name) + " node '" + ort::node_name(api, info) + "'"), weight_(kValues) {
  named(label_, [&] { create(api, info); });
}

void SparseGemm::create(const OrtApi& api, const OrtKernelInfo* info) {
  const KernelAttributes attributes(api, info);
  const auto [outputs, columns] = read_weight_shape(attributes);
  outputs_ = outputs;
  columns_ = columns;
  check_stored_form(attributes);
  kernel_ = &sparse_gemm::kernel_for(chosen_isa());
  last_ = {read_finish(form_.activation, attributes), sparse_conv::kernel_for(chosen_isa()).finish};
  if (const auto bias = ort::constant_input(api, info, kBias)) check_bias(*bias, outputs_);
  mask_ = required_constant(api, info, kMask, "mask");
  weight_.create(api, info, [&](const ort::Tensor& values) {
    auto weight = pack(values);
    // Packed here and not at the first run for the rows that the model declares.
    if (by_windows(declared_rows(ort::declared_input_shape(api, info, kX)))) {
      weight->windows();
    } else {
      weight->blocks();
    }
    return weight;
  });
}

std::unique_ptr<const PackedMatrix> SparseGemm::pack(const ort::Tensor& values) const {
  return std::make_unique<const PackedMatrix>(read_bitmap(mask_, values, outputs_ * columns_), columns_);
}

void SparseGemm::compute(OrtKernelContext* context) const {
  named(label_, [&] { run(context); });
}

void SparseGemm::run(OrtKernelContext* context) const {
  const ort::Tensor x = ort::input(api_, context, kX);
  const ort::Tensor bias = ort::input(api_, context, kBias);
  if (form_.any_rank ? x.shape.empty() : x.shape.size() != 2)
    fail("X has shape ", text(x.shape), ", a rank of ", form_.any_rank ? "1 or more" : "2", " is needed");
  if (x.shape.back() != columns_) fail("X has shape ", text(x.shape), ", the weight needs ", columns_, " columns");
  check_bias(bias, outputs_);
  std::vector<int64_t> y_shape = x.shape;
  y_shape.back() = outputs_;
  check_size(y_shape);
  const ort::Tensor y = ort::output(api_, context, 0, y_shape);
  if (std::find(y_shape.begin(), y_shape.end(), 0) != y_shape.end()) return;

  int64_t rows = 1;
  for (size_t i = 0; i + 1 < x.shape.size(); ++i) rows *= x.shape[i];
  const sparse_gemm::Tensors tensors = {rows, static_cast<const float*>(x.data), static_cast<const float*>(bias.data),
                                        static_cast<float*>(y.data)};
  weight_.with(
      api_, context, [&](const ort::Tensor& values) { return pack(values); },
      [&](const PackedMatrix& weight) { run(context, weight, tensors); });
}

void SparseGemm::run(OrtKernelContext* context, const PackedMatrix& weight, const sparse_gemm::Tensors& tensors) const {
  std::unique_ptr<const sparse_gemm::Run> run;
  if (by_windows(tensors.rows)) {
    run = std::make_unique<sparse_gemm::WindowsRun>(*kernel_, weight.windows(), last_, tensors);
  } else {
    run = std::make_unique<sparse_gemm::RowsRun>(*kernel_, weight.blocks(), last_, tensors);
  }
  struct Shared {
    const sparse_gemm::Run& run;
    std::atomic<bool> out_of_memory = false;
  } shared{*run};
  const auto body = [](void* data, size_t task) noexcept {
    auto& s = *static_cast<Shared*>(data);
    if (!s.run.run(static_cast<int64_t>(task))) s.out_of_memory = true;
  };
  if (run->tasks() == 1) {
    body(&shared, 0);
  } else {
    ort::check(api_, api_.KernelContext_ParallelFor(context, body, run->tasks(), 0, &shared));
  }
  if (shared.out_of_memory) fail("out of memory for the kernel's scratch");
}

bool SparseGemm::by_windows(int64_t rows) const {
  return sparse_gemm::WindowsRun::suits(*kernel_, rows, columns_);
}

const LaneWindows& PackedMatrix::windows() const {
  const std::lock_guard lock(mutex_);
  if (!windows_)
    windows_ = std::make_unique<const LaneWindows>(pack_lane_windows(MatrixRows(stored_, columns_)));
  return *windows_;
}

const ColumnBlocks& PackedMatrix::blocks() const {
  const std::lock_guard lock(mutex_);
  if (!blocks_)
    blocks_ = std::make_unique<const ColumnBlocks>(pack_column_blocks(MatrixRows(stored_, columns_)));
  return *blocks_;
}

void SparseGemm::infer_shape(const OrtApi& api, OrtShapeInferContext* context) {
  const MatrixShape weight = read_weight_shape(ShapeInferenceAttributes(api, context));
  std::vector<Dimension> y = input_dimensions(api, context, kX);
  if (y.empty()) return;
  y.back() = {weight.outputs, ""};
  set_output_dimensions(api, context, y);
}

}  // namespace onnxcomp
