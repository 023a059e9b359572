#include "ops/sparse_gemm.h"

#include "cpu.h"
#include "kernels/sparse_conv/dispatch.h"
#include "kernels/sparse_gemm/dispatch.h"
#include "ops/execute.h"
#include "ops/node.h"

namespace onnxcomp {
namespace {

enum Input : size_t { kX, kMask, kValues, kBias };

void check_stored_form(const Attributes& attributes) {
  const auto structure = attributes.string("structure");
  if (!structure) fail("attribute structure is missing");
  if (*structure != "unstructured")
    fail("structure is '", *structure, "', which this operator does not know: only 'unstructured'");
  check_decoded_type(attributes);
}

}  // namespace

SparseGemm::SparseGemm(const Form& form, const OrtApi& api, const OrtKernelInfo* info)
    : form_(form),
      api_(api),
      label_(std::string(form.name) + " node '" + ort::node_name(api, info) + "'"),
      weight_(kValues) {
  named(label_, [&] { create(api, info); });
}

void SparseGemm::create(const OrtApi& api, const OrtKernelInfo* info) {
  const KernelAttributes attributes(api, info);
  shape_ = read_matrix_shape(attributes);
  check_stored_form(attributes);
  last_ = {read_finish(form_.activation, attributes), sparse_conv::kernel_for(chosen_isa()).finish};
  if (const auto bias = ort::constant_input(api, info, kBias)) check_bias(*bias, shape_.outputs);
  mask_ = required_constant(api, info, kMask, "mask");
  weight_.create(api, info, [&](const ort::Tensor& values) {
    auto weight = pack(values);
    weight->expect(declared_rows(api, info));
    return weight;
  });
}

std::unique_ptr<const SparseMatrix> SparseGemm::pack(const ort::Tensor& values) const {
  return std::make_unique<const SparseMatrix>(
      sparse_gemm::kernel_for(chosen_isa()), read_bitmap(mask_, values, shape_.outputs * shape_.columns), shape_.columns);
}

void SparseGemm::compute(OrtKernelContext* context) const {
  named(label_, [&] { run(context); });
}

void SparseGemm::run(OrtKernelContext* context) const {
  const GemmCall call = GemmCall::read(api_, context, shape_, kBias, form_.any_rank);
  if (call.empty) return;
  weight_.with(
      api_, context, [&](const ort::Tensor& values) { return pack(values); },
      [&](const SparseMatrix& weight) { execute(api_, context, *weight.prepare(last_, call.tensors)); });
}

}  // namespace onnxcomp
