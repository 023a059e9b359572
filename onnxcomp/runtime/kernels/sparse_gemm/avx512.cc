// Sparse matrix products for AVX-512: panels of 16 lanes, and windows fetched by one permutation of two vectors.
#include <immintrin.h>

#include "kernels/sparse_gemm/list.h"
#include "kernels/sparse_gemm/rows.inc.h"

namespace onnxcomp::sparse_gemm {
namespace {

// Keeps a load apart from the expansion that follows: with a memory operand VEXPAND reads lane by lane, 10 cycles
// instead of 2 on Zen 5.
inline __attribute__((always_inline)) __m512 in_register(__m512 v) {
  asm("" : "+v"(v));
  return v;
}
inline __attribute__((always_inline)) __m512i in_register(__m512i v) {
  asm("" : "+v"(v));
  return v;
}

template <int I>
void windows(const Windows& m) noexcept {
  constexpr int kSets = I == 1 ? 2 : 1;
  const float* value = m.value;
  const uint8_t* offset = m.offset;
  __m512 sum[kSets][I];
#pragma GCC unroll 4
  for (int i = 0; i < I; ++i) {
    sum[0][i] = _mm512_load_ps(m.sum + i * 16);
    if (kSets == 2) sum[kSets - 1][i] = _mm512_setzero_ps();
  }
  const auto step = [&](int64_t s, __m512(&to)[I]) __attribute__((always_inline)) {
    const __mmask16 lanes = m.mask[s];
    const float* x = m.x + m.window[s] * 16;
    const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(offset)));
    const __m512i from = _mm512_maskz_expand_epi32(lanes, in_register(bytes));
    const __m512 weight = _mm512_maskz_expand_ps(lanes, in_register(_mm512_loadu_ps(value)));
    read_ahead(value, offset, sizeof *offset);
#pragma GCC unroll 4
    for (int i = 0; i < I; ++i, x += m.x_stride) {
      const __m512 fetched = _mm512_permutex2var_ps(_mm512_load_ps(x), from, _mm512_load_ps(x + 16));
      to[i] = _mm512_mask3_fmadd_ps(weight, fetched, to[i], lanes);  // masked, as 0 * Inf is not 0
    }
    const int taken = __builtin_popcount(lanes);
    value += taken;
    offset += taken;
  };
  int64_t s = 0;
  for (; s + kSets <= m.steps; s += kSets) {
    step(s, sum[0]);
    if (kSets == 2) step(s + 1, sum[kSets - 1]);
  }
  if (s < m.steps) step(s, sum[0]);
#pragma GCC unroll 4
  for (int i = 0; i < I; ++i) {
    if (kSets == 2) sum[0][i] = _mm512_add_ps(sum[0][i], sum[kSets - 1][i]);
    _mm512_store_ps(m.sum + i * 16, sum[0][i]);
  }
}

}  // namespace

const Kernel avx512_kernel = {
    "avx512", 16, dot, {Panel<16, 1>::multiply}, {windows<1>, windows<2>, windows<3>, windows<4>},
};

}  // namespace onnxcomp::sparse_gemm
