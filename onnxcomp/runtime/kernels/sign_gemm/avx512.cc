// Products with weights of one magnitude a block for AVX-512 (F, VL, DQ, BW): sixteen sums are looked up by a permutation.
#include <immintrin.h>

#include "kernels/sign_gemm/list.h"
#include "kernels/sign_gemm/panel.inc.h"

namespace onnxcomp::sign_gemm {
namespace {

struct Avx512 {
  using Vector = __m512;
  using Signs = __m512i;
  static constexpr int kLanes = 16;

  static Vector load(const void* from) { return _mm512_load_ps(from); }
  static void store(float* to, Vector v) { _mm512_store_ps(to, v); }
  static Signs load_signs(const uint32_t* from) { return _mm512_load_si512(from); }
  static Vector load_table(const float* from) { return _mm512_load_ps(from); }
  template <int I>
  static Vector look_up(Vector table, Signs signs) {
    return _mm512_permutexvar_ps(_mm512_srli_epi32(signs, 4 * I), table);  // takes the lowest four bits
  }
  static Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
};

void multiply_half(const Panel& p) noexcept {
  constexpr int64_t kBytes = Avx512::kLanes * 2;
  multiply_panel<Avx512>(p, kBytes, [](const char* scale, int i) __attribute__((always_inline)) {
    return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(scale + i * kBytes)));
  });
}

}  // namespace

const Kernel avx512_kernel = {"avx512", Avx512::kLanes, table, multiply<Avx512>, multiply_half};

}  // namespace onnxcomp::sign_gemm
