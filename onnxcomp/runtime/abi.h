// The slice of ONNX Runtime's C ABI that this library uses.
//
// The runtime's wheels ship no headers. Its C ABI is documented, stable and append-only: `OrtApi` is a table of
// function pointers that only ever grows at its end, so a member is fully described by its slot and its signature.
// Members that we do not call are gaps. Version 17 (ONNX Runtime 1.17) is the first with ShapeInferContext_* and
// KernelContext_ParallelFor.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

struct OrtCustomOpDomain;
struct OrtKernelContext;
struct OrtKernelInfo;
struct OrtOpAttr;
struct OrtSessionOptions;
struct OrtShapeInferContext;
struct OrtStatus;
struct OrtTensorTypeAndShapeInfo;
struct OrtTypeInfo;
struct OrtValue;

constexpr uint32_t ORT_API_VERSION = 17;

enum OrtErrorCode : int { ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2, ORT_RUNTIME_EXCEPTION = 6, ORT_NOT_IMPLEMENTED = 9 };

enum ONNXTensorElementDataType : int {
  ONNX_TYPE_ANY = 0,  // "undefined" in the documentation: in a signature, any type
  ONNX_TYPE_FLOAT = 1,
  ONNX_TYPE_UINT8 = 2,
  ONNX_TYPE_FLOAT16 = 10,
};

enum OrtOpAttrType : int { ORT_OP_ATTR_INT = 1, ORT_OP_ATTR_INTS = 2, ORT_OP_ATTR_FLOAT = 3, ORT_OP_ATTR_FLOATS = 4, ORT_OP_ATTR_STRING = 5 };
enum OrtInputOutputCharacteristic : int { ORT_REQUIRED = 0 };
enum OrtMemType : int { ORT_MEM_TYPE_DEFAULT = 0 };

// Every function that returns OrtStatus* returns null for success; the caller owns a status that is not null.
struct OrtApi {
  OrtStatus* (*CreateStatus)(OrtErrorCode code, const char* message);  // slot 0
  void* gap_1[1];
  const char* (*GetErrorMessage)(const OrtStatus*);  // 2
  void* gap_3[23];
  OrtStatus* (*CreateCustomOpDomain)(const char* domain, OrtCustomOpDomain** out);  // 26
  OrtStatus* (*CustomOpDomain_Add)(OrtCustomOpDomain*, const struct OrtCustomOp*);  // 27
  OrtStatus* (*AddCustomOpDomain)(OrtSessionOptions*, OrtCustomOpDomain*);          // 28
  void* gap_29[22];
  OrtStatus* (*GetTensorMutableData)(OrtValue*, void** out);  // 51
  void* gap_52[3];
  OrtStatus* (*CastTypeInfoToTensorInfo)(const OrtTypeInfo*, const OrtTensorTypeAndShapeInfo** out);  // 55, borrowed
  void* gap_56[1];
  OrtStatus* (*CreateTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo** out);                               // 57
  OrtStatus* (*SetTensorElementType)(OrtTensorTypeAndShapeInfo*, ONNXTensorElementDataType);                 // 58
  OrtStatus* (*SetDimensions)(OrtTensorTypeAndShapeInfo*, const int64_t* dims, size_t count);                // 59
  OrtStatus* (*GetTensorElementType)(const OrtTensorTypeAndShapeInfo*, ONNXTensorElementDataType* out);      // 60
  OrtStatus* (*GetDimensionsCount)(const OrtTensorTypeAndShapeInfo*, size_t* out);                           // 61
  OrtStatus* (*GetDimensions)(const OrtTensorTypeAndShapeInfo*, int64_t* dims, size_t count);                // 62
  OrtStatus* (*GetSymbolicDimensions)(const OrtTensorTypeAndShapeInfo*, const char* names[], size_t count);  // 63
  void* gap_64[1];
  OrtStatus* (*GetTensorTypeAndShape)(const OrtValue*, OrtTensorTypeAndShapeInfo** out);  // 65, owned
  void* gap_66[19];
  OrtStatus* (*KernelInfoGetAttribute_float)(const OrtKernelInfo*, const char* name, float* out);                // 85
  OrtStatus* (*KernelInfoGetAttribute_int64)(const OrtKernelInfo*, const char* name, int64_t* out);              // 86
  OrtStatus* (*KernelInfoGetAttribute_string)(const OrtKernelInfo*, const char* name, char* out, size_t* size);  // 87
  void* gap_88[2];
  OrtStatus* (*KernelContext_GetInput)(const OrtKernelContext*, size_t index, const OrtValue** out);  // 90
  OrtStatus* (*KernelContext_GetOutput)(OrtKernelContext*, size_t index, const int64_t* dims, size_t count,
                                        OrtValue** out);  // 91
  void* gap_92[1];
  void (*ReleaseStatus)(OrtStatus*);  // 93
  void* gap_94[4];
  void (*ReleaseTypeInfo)(OrtTypeInfo*);                              // 98
  void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo*);  // 99
  void* gap_100[62];
  OrtStatus* (*KernelInfoGetAttributeArray_float)(const OrtKernelInfo*, const char* name, float* out,
                                                  size_t* count);  // 162
  OrtStatus* (*KernelInfoGetAttributeArray_int64)(const OrtKernelInfo*, const char* name, int64_t* out,
                                                  size_t* count);  // 163
  void* gap_164[66];
  OrtStatus* (*KernelInfo_GetInputCount)(const OrtKernelInfo*, size_t* out);  // 230, since 1.14
  void* gap_231[3];
  OrtStatus* (*KernelInfo_GetInputTypeInfo)(const OrtKernelInfo*, size_t index, OrtTypeInfo** out);  // 234, owned
  void* gap_235[9];
  OrtStatus* (*KernelInfo_GetNodeName)(const OrtKernelInfo*, char* out, size_t* size);  // 244, since 1.15
  void* gap_245[4];
  OrtStatus* (*KernelInfoGetConstantInput_tensor)(const OrtKernelInfo*, size_t index, int* is_constant,
                                                  const OrtValue** out);  // 249, since 1.15
  void* gap_250[18];
  OrtStatus* (*ShapeInferContext_GetInputTypeShape)(const OrtShapeInferContext*, size_t index,
                                                    OrtTensorTypeAndShapeInfo** out);  // 268, since 1.17, borrowed
  OrtStatus* (*ShapeInferContext_GetAttribute)(const OrtShapeInferContext*, const char* name,
                                               const OrtOpAttr** out);  // 269
  OrtStatus* (*ShapeInferContext_SetOutputTypeShape)(const OrtShapeInferContext*, size_t index,
                                                     const OrtTensorTypeAndShapeInfo*);                       // 270
  OrtStatus* (*SetSymbolicDimensions)(OrtTensorTypeAndShapeInfo*, const char* names[], size_t count);         // 271
  OrtStatus* (*ReadOpAttr)(const OrtOpAttr*, OrtOpAttrType, void* data, size_t bytes, size_t* bytes_needed);  // 272
  void* gap_273[1];
  OrtStatus* (*KernelContext_ParallelFor)(const OrtKernelContext*, void (*body)(void* data, size_t task), size_t tasks,
                                          size_t batches, void* data);  // 274, since 1.17; batches 0: tasks one by one
};

#define ONNXCOMP_CHECK_SLOT(member, slot) \
  static_assert(offsetof(OrtApi, member) == (slot) * sizeof(void*), #member " is not in slot " #slot)
ONNXCOMP_CHECK_SLOT(CreateCustomOpDomain, 26);
ONNXCOMP_CHECK_SLOT(GetTensorMutableData, 51);
ONNXCOMP_CHECK_SLOT(CreateTensorTypeAndShapeInfo, 57);
ONNXCOMP_CHECK_SLOT(GetTensorTypeAndShape, 65);
ONNXCOMP_CHECK_SLOT(KernelInfoGetAttribute_float, 85);
ONNXCOMP_CHECK_SLOT(KernelContext_GetInput, 90);
ONNXCOMP_CHECK_SLOT(ReleaseStatus, 93);
ONNXCOMP_CHECK_SLOT(ReleaseTypeInfo, 98);
ONNXCOMP_CHECK_SLOT(KernelInfoGetAttributeArray_int64, 163);
ONNXCOMP_CHECK_SLOT(KernelInfo_GetInputCount, 230);
ONNXCOMP_CHECK_SLOT(KernelInfo_GetInputTypeInfo, 234);
ONNXCOMP_CHECK_SLOT(KernelInfo_GetNodeName, 244);
ONNXCOMP_CHECK_SLOT(KernelInfoGetConstantInput_tensor, 249);
ONNXCOMP_CHECK_SLOT(ShapeInferContext_GetInputTypeShape, 268);
ONNXCOMP_CHECK_SLOT(KernelContext_ParallelFor, 274);
#undef ONNXCOMP_CHECK_SLOT

struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t version);  // null where the runtime is older than `version`
  const char* (*GetVersionString)();
};

// An operator as the runtime sees it. Members left null are not called at version 17 with fixed, required inputs.
struct OrtCustomOp {
  uint32_t version;
  void* (*CreateKernel)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*);
  const char* (*GetName)(const OrtCustomOp*);
  const char* (*GetExecutionProviderType)(const OrtCustomOp*);
  ONNXTensorElementDataType (*GetInputType)(const OrtCustomOp*, size_t index);
  size_t (*GetInputTypeCount)(const OrtCustomOp*);
  ONNXTensorElementDataType (*GetOutputType)(const OrtCustomOp*, size_t index);
  size_t (*GetOutputTypeCount)(const OrtCustomOp*);
  void (*KernelCompute)(void* kernel, OrtKernelContext*);
  void (*KernelDestroy)(void* kernel);
  OrtInputOutputCharacteristic (*GetInputCharacteristic)(const OrtCustomOp*, size_t index);
  OrtInputOutputCharacteristic (*GetOutputCharacteristic)(const OrtCustomOp*, size_t index);
  OrtMemType (*GetInputMemoryType)(const OrtCustomOp*, size_t index);
  int (*GetVariadicInputMinArity)(const OrtCustomOp*);
  int (*GetVariadicInputHomogeneity)(const OrtCustomOp*);
  int (*GetVariadicOutputMinArity)(const OrtCustomOp*);
  int (*GetVariadicOutputHomogeneity)(const OrtCustomOp*);
  OrtStatus* (*CreateKernelV2)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*, void** kernel);
  OrtStatus* (*KernelComputeV2)(void* kernel, OrtKernelContext*);
  OrtStatus* (*InferOutputShapeFn)(const OrtCustomOp*, OrtShapeInferContext*);
  int (*GetStartVersion)(const OrtCustomOp*);
  int (*GetEndVersion)(const OrtCustomOp*);
  size_t (*GetMayInplace)(int** inputs, int** outputs);
  void (*ReleaseMayInplace)(int* inputs, int* outputs);
  size_t (*GetAliasMap)(int** inputs, int** outputs);
  void (*ReleaseAliasMap)(int* inputs, int* outputs);
};
static_assert(sizeof(OrtCustomOp) == 208, "OrtCustomOp of version 17 is a version and 25 pointers");

// The library's one exported symbol. Returns null, or a status that says why the operators could not be added.
__attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options, const OrtApiBase* base);

}  // extern "C"
