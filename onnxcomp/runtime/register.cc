// The library's entry point: the operators it has, from one table.
#include <new>

#include "abi.h"
#include "cpu.h"
#include "error.h"
#include "ops/sparse_conv.h"
#include "ops/sparse_conv_shape.h"
#include "ort.h"

namespace onnxcomp {
namespace {

using sparse_conv::Activation;

#define ONNXCOMP_FORMS(suffix, activation) \
  {"SparseConv" suffix, false, Activation::activation}, { "SparseConvAdd" suffix, true, Activation::activation }
constexpr SparseConvForm kForms[] = {
    ONNXCOMP_FORMS("", none),           ONNXCOMP_FORMS("Relu", relu),
    ONNXCOMP_FORMS("Clip", clip),       ONNXCOMP_FORMS("LeakyRelu", leaky_relu),
    ONNXCOMP_FORMS("Sigmoid", sigmoid), ONNXCOMP_FORMS("HardSwish", hard_swish),
    ONNXCOMP_FORMS("Silu", silu),
};
#undef ONNXCOMP_FORMS

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

struct Operator : OrtCustomOp {
  const SparseConvForm* form = nullptr;
};

const SparseConvForm& form_of(const OrtCustomOp* op) { return *static_cast<const Operator*>(op)->form; }

// A created kernel, with the OrtApi to report errors through.
struct CreatedKernel {
  SparseConv op;
  const OrtApi* api;
};

OrtStatus* create_kernel(const OrtCustomOp* op, const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
  return guarded(*api, [&] { *kernel = new CreatedKernel{SparseConv(form_of(op), *api, info), api}; });
}

OrtStatus* compute_kernel(void* kernel, OrtKernelContext* context) {
  const auto& created = *static_cast<CreatedKernel*>(kernel);
  return guarded(*created.api, [&] { created.op.compute(context); });
}

void destroy_kernel(void* kernel) { delete static_cast<CreatedKernel*>(kernel); }

OrtStatus* infer_shape(const OrtCustomOp*, OrtShapeInferContext* context) {
  OrtStatus* refusal = guarded(*registered_api, [&] { infer_sparse_conv_shape(*registered_api, context); });
  // The runtime neither reads nor releases what comes back from here. The same attributes are refused, by name, when
  // the kernel is created.
  if (refusal != nullptr) registered_api->ReleaseStatus(refusal);
  return nullptr;
}

ONNXTensorElementDataType input_type(const OrtCustomOp*, size_t index) {
  constexpr ONNXTensorElementDataType kTypes[] = {ONNX_TYPE_FLOAT, ONNX_TYPE_UINT8, ONNX_TYPE_ANY, ONNX_TYPE_FLOAT,
                                                  ONNX_TYPE_FLOAT};
  return kTypes[index];
}

Operator make_operator(const SparseConvForm& form) {
  Operator op{};
  op.form = &form;
  op.version = ORT_API_VERSION;
  op.GetName = [](const OrtCustomOp* self) { return form_of(self).name; };
  op.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };  // the CPU's
  op.GetInputType = input_type;
  op.GetInputTypeCount = [](const OrtCustomOp* self) { return form_of(self).inputs(); };
  op.GetOutputType = [](const OrtCustomOp*, size_t) { return ONNX_TYPE_FLOAT; };
  op.GetOutputTypeCount = [](const OrtCustomOp*) -> size_t { return 1; };
  op.GetInputCharacteristic = [](const OrtCustomOp*, size_t) { return ORT_REQUIRED; };
  op.GetOutputCharacteristic = [](const OrtCustomOp*, size_t) { return ORT_REQUIRED; };
  op.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return ORT_MEM_TYPE_DEFAULT; };
  op.GetVariadicInputMinArity = op.GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 1; };
  op.GetVariadicInputHomogeneity = op.GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 0; };
  op.CreateKernelV2 = create_kernel;
  op.KernelComputeV2 = compute_kernel;
  op.KernelDestroy = destroy_kernel;
  op.InferOutputShapeFn = infer_shape;
  op.GetStartVersion = op.GetEndVersion = [](const OrtCustomOp*) { return 1; };
  return op;
}

// The domain with its operators. Sessions keep pointers to both, so they live as long as the library is loaded.
OrtCustomOpDomain* make_domain(const OrtApi& api) {
  static Operator operators[std::size(kForms)];
  OrtCustomOpDomain* domain = nullptr;
  ort::check(api, api.CreateCustomOpDomain("ai.onnxcomp", &domain));
  for (size_t i = 0; i < std::size(kForms); ++i) {
    operators[i] = make_operator(kForms[i]);
    ort::check(api, api.CustomOpDomain_Add(domain, &operators[i]));
  }
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
