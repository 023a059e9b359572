#include "ops/basis_conv.h"

#include <optional>
#include <vector>

#include "cpu.h"
#include "kernels/basis_conv/dispatch.h"
#include "kernels/basis_conv/maps.h"
#include "kernels/sparse_conv/dispatch.h"
#include "kernels/sparse_conv/run.h"
#include "ops/conv_call.h"
#include "ops/conv_shape.h"
#include "ops/dimensions.h"
#include "ops/node.h"

namespace onnxcomp {
namespace {

constexpr size_t kBases = 1;  // indices of inputs
constexpr size_t kMask = 2;
constexpr size_t kValues = 3;
constexpr size_t kBias = 4;
constexpr size_t kResidual = 5;

constexpr int64_t kMostBases = int64_t{1} << 16;  // the maps of one channel have 16-bit indices

// [C_out, C_in / group, d]
std::vector<int64_t> read_coefficients_shape(const Attributes& attributes) {
  const auto shape = attributes.integers("coefficients_shape");
  if (!shape) fail("attribute coefficients_shape is missing");
  if (shape->size() != 3) fail("coefficients_shape has ", shape->size(), " dimensions, 3 are needed");
  int64_t elements = 1;
  for (const int64_t size : *shape) {
    if (size < 1) fail("coefficients_shape ", text(*shape), " has a dimension below 1");
    if (__builtin_mul_overflow(elements, size, &elements) || elements > kLargestWeight)
      fail("coefficients_shape ", text(*shape), " has more than ", kLargestWeight, " elements");
  }
  if (shape->back() > kMostBases)
    fail("coefficients_shape ", text(*shape), " has more than ", kMostBases, " bases");
  return *shape;
}

// Of the dense weight: [C_out, C_in / group, (kh,) kw].
std::vector<int64_t> combined_shape(const std::vector<int64_t>& coefficients, const std::vector<int64_t>& bases) {
  if (bases.size() != 2 && bases.size() != 3)
    fail("bases has shape ", text(bases), ": a number of 1-D or 2-D kernels has a rank of 2 or 3");
  if (bases[0] != coefficients[2])
    fail("bases has shape ", text(bases), ", coefficients_shape is ", text(coefficients));
  std::vector<int64_t> shape = {coefficients[0], coefficients[1]};
  shape.insert(shape.end(), bases.begin() + 1, bases.end());
  return shape;
}

}  // namespace

BasisConv::BasisConv(const BasisConvForm& form, const OrtApi& api, const OrtKernelInfo* info)
    : form_(form),
      api_(api),
      label_(std::string(form.name) + " node '" + ort::node_name(api, info) + "'"),
      kernel_(sparse_conv::kernel_for(chosen_isa())),
      basis_kernel_(basis_conv::kernel_for(chosen_isa())),
      weight_(kValues),
      threads_(machine().processors) {
  named(label_, [&] { create(api, info); });
}

void BasisConv::create(const OrtApi& api, const OrtKernelInfo* info) {
  const KernelAttributes attributes(api, info);
  coefficients_shape_ = read_coefficients_shape(attributes);
  check_decoded_type(attributes);
  bases_ = required_constant(api, info, kBases, "bases");
  if (bases_.type != ONNX_TYPE_FLOAT) fail("bases must be float32");
  conv_ = ConvAttributes::read(attributes, combined_shape(coefficients_shape_, bases_.shape));
  finish_ = read_finish(form_.activation, attributes);
  if (const auto bias = ort::constant_input(api, info, kBias)) check_bias(*bias, coefficients_shape_[0]);
  expected_ = expected_shape(conv_, api, info);
  mask_ = required_constant(api, info, kMask, "mask");
  weight_.create(api, info, [&](const ort::Tensor& values) { return pack(values); });
}

std::unique_ptr<const BasisConv::Packed> BasisConv::pack(const ort::Tensor& values) const {
  const std::vector<int64_t>& shape = coefficients_shape_;
  const Bitmap stored = read_bitmap(mask_, values, shape[0] * shape[1] * shape[2]);
  auto packed = std::make_unique<Packed>();
  packed->weight = basis_conv::pack_weight(kernel_, expected_, {shape[2], static_cast<const float*>(bases_.data), stored});
  return packed;
}

void BasisConv::compute(OrtKernelContext* context) const {
  named(label_, [&] { run(context); });
}

void BasisConv::run(OrtKernelContext* context) const {
  const auto residual = form_.residual ? std::optional<size_t>(kResidual) : std::nullopt;
  const ConvCall call = ConvCall::read(api_, context, conv_, kBias, residual);
  if (call.empty) return;
  const auto go = [&](const Packed& packed) {
    const basis_conv::Weight& weight = packed.weight;
    const auto plan = packed.plan.get(call.shape, [&] { return basis_conv::make_plan(kernel_, call.shape, weight); });
    const basis_conv::Maps maps(basis_kernel_, kernel_, call.shape, weight, *plan, call.tensors.x);
    const sparse_conv::ConvShape shape = basis_conv::shape_of_maps(call.shape, weight.bases);
    const sparse_conv::Run run(kernel_, weight.coefficients, shape, plan->pointwise, finish_, call.tensors,
                               threads_.expected(), &maps);
    threads_.record(execute(api_, context, run));
  };
  weight_.with(api_, context, [&](const ort::Tensor& values) { return pack(values); }, go);
}

void BasisConv::infer_shape(const OrtApi& api, OrtShapeInferContext* context) {
  const ShapeInferenceAttributes attributes(api, context);
  const std::vector<int64_t> coefficients = read_coefficients_shape(attributes);
  std::vector<int64_t> bases;
  for (const Dimension& dimension : input_dimensions(api, context, kBases)) bases.push_back(dimension.size);
  infer_conv_shape(api, context, ConvAttributes::read(attributes, combined_shape(coefficients, bases)));
}

}  // namespace onnxcomp
