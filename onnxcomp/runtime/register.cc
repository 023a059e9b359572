// The library's entry point: the operators it has, from one table.
#include <new>

#include "abi.h"
#include "cpu.h"
#include "error.h"
#include "ops/basis_conv.h"
#include "ops/sparse_conv.h"
#include "ops/sparse_gemm.h"
#include "ops/unified_conv.h"
#include "ort.h"

namespace onnxcomp {
namespace {

using sparse_conv::Activation;

// Every activation, with the end of the operator's name that says so.
#define ONNXCOMP_ACTIVATIONS(FORM)                                                                            \
  FORM("", none) FORM("Relu", relu) FORM("Clip", clip) FORM("LeakyRelu", leaky_relu) FORM("Sigmoid", sigmoid) \
  FORM("HardSwish", hard_swish) FORM("Silu", silu)
#define ONNXCOMP_CONV_FORMS(suffix, activation)                   \
  {"SparseConv" suffix, false, false, Activation::activation},     \
  {"SparseConvAdd" suffix, false, true, Activation::activation},   \
  {"BlockSparseConv" suffix, true, false, Activation::activation}, \
  {"BlockSparseConvAdd" suffix, true, true, Activation::activation},
#define ONNXCOMP_BASIS_FORMS(suffix, activation)            \
  {"BasisConv" suffix, false, Activation::activation},       \
  {"BasisConvAdd" suffix, true, Activation::activation},
#define ONNXCOMP_UNIFIED_FORMS(suffix, activation)           \
  {"UnifiedConv" suffix, false, Activation::activation},     \
  {"UnifiedConvAdd" suffix, true, Activation::activation},
#define ONNXCOMP_GEMM_FORMS(suffix, activation)         \
  {"SparseGemm" suffix, false, Activation::activation}, \
  {"SparseMatMul" suffix, true, Activation::activation},
constexpr SparseConvForm kConvForms[] = {ONNXCOMP_ACTIVATIONS(ONNXCOMP_CONV_FORMS)};
constexpr BasisConvForm kBasisForms[] = {ONNXCOMP_ACTIVATIONS(ONNXCOMP_BASIS_FORMS)};
constexpr UnifiedConvForm kUnifiedForms[] = {ONNXCOMP_ACTIVATIONS(ONNXCOMP_UNIFIED_FORMS)};
constexpr SparseGemmForm kGemmForms[] = {ONNXCOMP_ACTIVATIONS(ONNXCOMP_GEMM_FORMS)};
#undef ONNXCOMP_GEMM_FORMS
#undef ONNXCOMP_UNIFIED_FORMS
#undef ONNXCOMP_BASIS_FORMS
#undef ONNXCOMP_CONV_FORMS
#undef ONNXCOMP_ACTIVATIONS

// Shape inference gets no OrtApi from the runtime: it uses the one of the registration.
const OrtApi* registered_api = nullptr;

// Runs `work`; an exception becomes a status.
template <class Work>
OrtStatus* guarded(const OrtApi& api, Work work) noexcept {
  try {
    work();
    return nullptr;
  } catch (const std::bad_alloc&) {
    return api.CreateStatus(ORT_FAIL, "onnxcomp: out of memory");
  } catch (const std::exception& error) {
    return api.CreateStatus(ORT_INVALID_ARGUMENT, error.what());
  }
}

// An operator, `Op` its class: Op::Form is what its name says, Op(form, api, info) creates a kernel, Op::kInputTypes are
// the types of the inputs of the form with the most.
template <class Op>
struct Operator : OrtCustomOp {
  const typename Op::Form* form = nullptr;
};

template <class Op>
const typename Op::Form& form_of(const OrtCustomOp* op) {
  return *static_cast<const Operator<Op>*>(op)->form;
}

// A created kernel, with the OrtApi to report errors through.
template <class Op>
struct CreatedKernel {
  Op op;
  const OrtApi* api;
};

template <class Op>
OrtStatus* create_kernel(const OrtCustomOp* op, const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
  return guarded(*api, [&] { *kernel = new CreatedKernel<Op>{Op(form_of<Op>(op), *api, info), api}; });
}

template <class Op>
OrtStatus* compute_kernel(void* kernel, OrtKernelContext* context) {
  const auto& created = *static_cast<CreatedKernel<Op>*>(kernel);
  return guarded(*created.api, [&] { created.op.compute(context); });
}

template <class Op>
void destroy_kernel(void* kernel) {
  delete static_cast<CreatedKernel<Op>*>(kernel);
}

template <class Op>
OrtStatus* infer_shape(const OrtCustomOp*, OrtShapeInferContext* context) {
  OrtStatus* refusal = guarded(*registered_api, [&] { Op::infer_shape(*registered_api, context); });
  // The runtime neither reads nor releases what comes back from here. The same attributes are refused, by name, when
  // the kernel is created.
  if (refusal != nullptr) registered_api->ReleaseStatus(refusal);
  return nullptr;
}

template <class Op>
Operator<Op> make_operator(const typename Op::Form& form) {
  Operator<Op> op{};
  op.form = &form;
  op.version = ORT_API_VERSION;
  op.GetName = [](const OrtCustomOp* self) { return form_of<Op>(self).name; };
  op.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };  // the CPU's
  op.GetInputType = [](const OrtCustomOp*, size_t index) { return Op::kInputTypes[index]; };
  op.GetInputTypeCount = [](const OrtCustomOp* self) { return form_of<Op>(self).inputs(); };
  op.GetOutputType = [](const OrtCustomOp*, size_t) { return ONNX_TYPE_FLOAT; };
  op.GetOutputTypeCount = [](const OrtCustomOp*) -> size_t { return 1; };
  op.GetInputCharacteristic = [](const OrtCustomOp*, size_t) { return ORT_REQUIRED; };
  op.GetOutputCharacteristic = [](const OrtCustomOp*, size_t) { return ORT_REQUIRED; };
  op.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return ORT_MEM_TYPE_DEFAULT; };
  op.GetVariadicInputMinArity = op.GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 1; };
  op.GetVariadicInputHomogeneity = op.GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 0; };
  op.CreateKernelV2 = create_kernel<Op>;
  op.KernelComputeV2 = compute_kernel<Op>;
  op.KernelDestroy = destroy_kernel<Op>;
  op.InferOutputShapeFn = infer_shape<Op>;
  op.GetStartVersion = op.GetEndVersion = [](const OrtCustomOp*) { return 1; };
  return op;
}

// Adds every form of `Op` to the domain. Sessions keep pointers, so the operators live as long as the library is loaded.
template <class Op, size_t count>
void add_operators(const OrtApi& api, OrtCustomOpDomain* domain, const typename Op::Form (&forms)[count]) {
  static Operator<Op> operators[count];
  for (size_t i = 0; i < count; ++i) {
    operators[i] = make_operator<Op>(forms[i]);
    ort::check(api, api.CustomOpDomain_Add(domain, &operators[i]));
  }
}

OrtCustomOpDomain* make_domain(const OrtApi& api) {
  OrtCustomOpDomain* domain = nullptr;
  ort::check(api, api.CreateCustomOpDomain("ai.onnxcomp", &domain));
  add_operators<SparseConv>(api, domain, kConvForms);
  add_operators<BasisConv>(api, domain, kBasisForms);
  add_operators<UnifiedConv>(api, domain, kUnifiedForms);
  add_operators<SparseGemm>(api, domain, kGemmForms);
  registered_api = &api;
  return domain;
}

}  // namespace
}  // namespace onnxcomp

OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base) {
  using namespace onnxcomp;
  const OrtApi* api = base->GetApi(ORT_API_VERSION);
  if (api == nullptr) {
    const std::string message =
        std::string("onnxcomp needs ONNX Runtime 1.17 or newer, this is ") + base->GetVersionString();
    return base->GetApi(1)->CreateStatus(ORT_NOT_IMPLEMENTED, message.c_str());
  }
  return guarded(*api, [&] {
    chosen_isa();  // refuses a wrong ONNXCOMP_ISA now, not at the first node
    static OrtCustomOpDomain* const domain = make_domain(*api);
    ort::check(*api, api->AddCustomOpDomain(options, domain));
  });
}
