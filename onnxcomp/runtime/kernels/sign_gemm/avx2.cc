// Products with weights of one magnitude a block for AVX2 with FMA: eight sums are looked up by a permutation, and the
// other eight are these with their signs turned.
#include <immintrin.h>

#include "kernels/sign_gemm/list.h"
#include "kernels/sign_gemm/panel.inc.h"

namespace onnxcomp::sign_gemm {
namespace {

struct Avx2 {
  using Vector = __m256;
  using Signs = __m256i;
  static constexpr int kLanes = 8;

  static Vector load(const void* from) { return _mm256_load_ps(static_cast<const float*>(from)); }
  static void store(float* to, Vector v) { _mm256_store_ps(to, v); }
  static Signs load_signs(const uint32_t* from) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(from)); }
  static Vector load_table(const float* from) { return _mm256_load_ps(from); }
  template <int I>
  static Vector look_up(Vector table, Signs signs) {
    const Vector sums = _mm256_permutevar8x32_ps(table, _mm256_srli_epi32(signs, 4 * I));  // takes 3 bits
    const __m256i turned = _mm256_and_si256(_mm256_slli_epi32(signs, 28 - 4 * I), _mm256_set1_epi32(1 << 31));
    return _mm256_xor_ps(sums, _mm256_castsi256_ps(turned));
  }
  static Vector fma(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }
};

}  // namespace

const Kernel avx2_kernel = {"avx2", Avx2::kLanes, table, multiply<Avx2>, nullptr};

}  // namespace onnxcomp::sign_gemm
