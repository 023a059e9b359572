// Runs a model with onnxcomp's extension library, in plain C:
//
//     cc -O2 infer.c -lonnxruntime -o infer
//     ./infer "$(onnxcomp library)" model.onnx input.bin 2
//
// With the library of ONNX Runtime's Python wheel instead of an installed one, give that file, capi/libonnxruntime.so.*,
// to the compiler in the place of -lonnxruntime, and let the loader find it by the name libonnxruntime.so.1 (a link).
//
// input.bin holds float32 numbers of the model's first input, as many samples as there are; the first output is printed,
// a number a line, with all of its digits.
#include <stdio.h>
#include <stdlib.h>

#if defined(__has_include) && __has_include(<onnxruntime_c_api.h>)
#include <onnxruntime_c_api.h>
#else
#include "ort_slice.h"
#endif

enum { MAX_DIMENSIONS = 8 };

static const OrtApi* ort;

static void fail(const char* what, const char* why) {
  fprintf(stderr, "infer: %s: %s\n", what, why);
  exit(1);
}

static void check(OrtStatus* status) {
  if (status != NULL) fail("ONNX Runtime", ort->GetErrorMessage(status));
}

// The whole of a file of float32; `count` is how many.
static float* read_floats(const char* path, size_t* count) {
  FILE* file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) fail(path, "cannot be read");
  const long bytes = ftell(file);
  if (bytes <= 0 || bytes % (long)sizeof(float) != 0) fail(path, "does not hold float32 numbers");
  rewind(file);
  *count = (size_t)bytes / sizeof(float);
  float* data = malloc((size_t)bytes);
  if (data == NULL || fread(data, sizeof(float), *count, file) != *count) fail(path, "cannot be read");
  fclose(file);
  return data;
}

static void require_float(const OrtTensorTypeAndShapeInfo* tensor, const char* what) {
  ONNXTensorElementDataType type;
  if (tensor == NULL) fail(what, "is no tensor");
  check(ort->GetTensorElementType(tensor, &type));
  if (type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) fail(what, "is not of float32");
}

// The shape of the first input, its free first dimension being as many samples as `count` numbers are.
static size_t input_shape(OrtSession* session, size_t count, int64_t shape[MAX_DIMENSIONS]) {
  OrtTypeInfo* type;
  const OrtTensorTypeAndShapeInfo* tensor;
  size_t dimensions;
  check(ort->SessionGetInputTypeInfo(session, 0, &type));
  check(ort->CastTypeInfoToTensorInfo(type, &tensor));
  require_float(tensor, "the input");
  check(ort->GetDimensionsCount(tensor, &dimensions));
  if (dimensions == 0 || dimensions > MAX_DIMENSIONS) fail("the input", "has no samples, or too many dimensions");
  check(ort->GetDimensions(tensor, shape, dimensions));
  ort->ReleaseTypeInfo(type);
  size_t sample = 1;
  for (size_t i = 1; i < dimensions; ++i) {
    if (shape[i] <= 0) fail("the input", "has more than one free dimension");
    sample *= (size_t)shape[i];
  }
  if (count % sample != 0) fail("the input", "no whole samples were given");
  shape[0] = (int64_t)(count / sample);
  return dimensions;
}

int main(int argc, char** argv) {
  if (argc != 5) {
    fprintf(stderr, "usage: infer LIBRARY MODEL.onnx INPUT.bin THREADS\n");
    return 2;
  }
  ort = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  if (ort == NULL) fail(OrtGetApiBase()->GetVersionString(), "this ONNX Runtime is too old");
  OrtEnv* env;
  OrtSessionOptions* options;
  OrtSession* session;
  void* library;  // stays open as long as the program runs
  check(ort->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "infer", &env));
  check(ort->CreateSessionOptions(&options));
  check(ort->SetIntraOpNumThreads(options, atoi(argv[4])));
  check(ort->RegisterCustomOpsLibrary(options, argv[1], &library));  // the one line that onnxcomp asks for
  check(ort->CreateSession(env, argv[2], options, &session));

  size_t count;
  int64_t shape[MAX_DIMENSIONS];
  float* data = read_floats(argv[3], &count);
  const size_t dimensions = input_shape(session, count, shape);
  OrtAllocator* allocator;
  char *input_name, *output_name;
  check(ort->GetAllocatorWithDefaultOptions(&allocator));
  check(ort->SessionGetInputName(session, 0, allocator, &input_name));
  check(ort->SessionGetOutputName(session, 0, allocator, &output_name));
  OrtMemoryInfo* memory;
  OrtValue *input, *output = NULL;
  check(ort->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
  check(ort->CreateTensorWithDataAsOrtValue(memory, data, count * sizeof(float), shape, dimensions,
                                            ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &input));
  check(ort->Run(session, NULL, (const char* const*)&input_name, (const OrtValue* const*)&input, 1,
                 (const char* const*)&output_name, 1, &output));

  OrtTensorTypeAndShapeInfo* given;
  size_t numbers;
  float* scores;
  check(ort->GetTensorTypeAndShape(output, &given));
  require_float(given, "the output");
  check(ort->GetTensorShapeElementCount(given, &numbers));
  check(ort->GetTensorMutableData(output, (void**)&scores));
  for (size_t i = 0; i < numbers; ++i) printf("%.9g\n", scores[i]);

  ort->ReleaseTensorTypeAndShapeInfo(given);
  ort->ReleaseValue(output);
  ort->ReleaseValue(input);
  ort->ReleaseMemoryInfo(memory);
  check(ort->AllocatorFree(allocator, input_name));
  check(ort->AllocatorFree(allocator, output_name));
  ort->ReleaseSession(session);
  ort->ReleaseSessionOptions(options);
  ort->ReleaseEnv(env);
  free(data);
  return 0;
}
