// Products with weights of one magnitude a block for any CPU: four lanes, sums looked up one by one.
#include "kernels/sign_gemm/list.h"
#include "kernels/sign_gemm/panel.inc.h"

namespace onnxcomp::sign_gemm {
namespace {

struct Portable {
  using Vector __attribute__((vector_size(16))) = float;
  using Signs __attribute__((vector_size(16))) = uint32_t;
  static constexpr int kLanes = 4;

  static Vector load(const void* from) {
    Vector v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
  }
  static void store(float* to, Vector v) { __builtin_memcpy(to, &v, sizeof v); }
  static Signs load_signs(const uint32_t* from) {
    Signs signs;
    __builtin_memcpy(&signs, from, sizeof signs);
    return signs;
  }
  static const float* load_table(const float* from) { return from; }
  template <int I>
  static Vector look_up(const float* table, Signs signs) {
    const Signs code = signs >> 4 * I & 15;
    return Vector{table[code[0]], table[code[1]], table[code[2]], table[code[3]]};
  }
  static Vector fma(Vector a, Vector b, Vector c) { return a * b + c; }
};

}  // namespace

const Kernel portable_kernel = {"portable", Portable::kLanes, table, multiply<Portable>, nullptr};

}  // namespace onnxcomp::sign_gemm
