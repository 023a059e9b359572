// Sparse convolution for AVX-512 (F, VL, DQ, BW): sixteen lanes, 28 of 32 registers hold sums.
#include <immintrin.h>

#include "kernels/sparse_conv/list.h"
#include "kernels/sparse_conv/tile.inc.h"

namespace onnxcomp::sparse_conv {
namespace {

struct Avx512 {
  using Vector = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kAccumulators = 28;

  static Vector load(const void* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, Vector v) { _mm512_storeu_ps(to, v); }
  static Vector broadcast(const float* from) { return _mm512_set1_ps(*from); }
  static Vector fma(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }
  static Vector max(Vector a, Vector b) { return _mm512_max_ps(a, b); }
  static Vector min(Vector a, Vector b) { return _mm512_min_ps(a, b); }
};

constexpr int L = Avx512::kLanes;

// Transposes the 4 x 4 floats in each quarter of v[0..3].
inline __attribute__((always_inline)) void transpose_quarters(__m512* v) {
  const __m512 low01 = _mm512_unpacklo_ps(v[0], v[1]);
  const __m512 high01 = _mm512_unpackhi_ps(v[0], v[1]);
  const __m512 low23 = _mm512_unpacklo_ps(v[2], v[3]);
  const __m512 high23 = _mm512_unpackhi_ps(v[2], v[3]);
  v[0] = _mm512_shuffle_ps(low01, low23, 0x44);
  v[1] = _mm512_shuffle_ps(low01, low23, 0xee);
  v[2] = _mm512_shuffle_ps(high01, high23, 0x44);
  v[3] = _mm512_shuffle_ps(high01, high23, 0xee);
}

// Sixteen lanes' pieces of one row in memory.
struct Pieces {
  const int64_t* offset;  // [16]
  const uint8_t* mask;    // [16]
  int64_t column;

  int64_t at(int lane) const { return offset[lane] + column; }
};

inline __attribute__((always_inline)) __m512 load_halves(const float* map, const Pieces& p, int low, int high) {
  const __m256 a = _mm256_maskz_loadu_ps(p.mask[low], map + p.at(low));
  const __m256 b = _mm256_maskz_loadu_ps(p.mask[high], map + p.at(high));
  return _mm512_insertf32x8(_mm512_castps256_ps512(a), b, 1);
}

// Columns 0 to 7 of all lanes: v[j] is column j.
inline __attribute__((always_inline)) void load_8_columns(const float* map, const Pieces& p, __m512* v) {
  __m512 a[4];
  __m512 b[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    a[i] = load_halves(map, p, i, i + 4);
    b[i] = load_halves(map, p, i + 8, i + 12);
  }
  transpose_quarters(a);  // a[j]: column j of lanes 0-3, column j + 4 of lanes 0-3, the same of lanes 4-7
  transpose_quarters(b);
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    v[j] = _mm512_shuffle_f32x4(a[j], b[j], 0x88);
    v[j + 4] = _mm512_shuffle_f32x4(a[j], b[j], 0xdd);
  }
}

// Columns 0 to 3 of all lanes: v[j] is column j.
inline __attribute__((always_inline)) void load_4_columns(const float* map, const Pieces& p, __m512* v) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm512_castps128_ps512(_mm_maskz_loadu_ps(p.mask[i], map + p.at(i)));
    v[i] = _mm512_insertf32x4(v[i], _mm_maskz_loadu_ps(p.mask[i + 4], map + p.at(i + 4)), 1);
    v[i] = _mm512_insertf32x4(v[i], _mm_maskz_loadu_ps(p.mask[i + 8], map + p.at(i + 8)), 2);
    v[i] = _mm512_insertf32x4(v[i], _mm_maskz_loadu_ps(p.mask[i + 12], map + p.at(i + 12)), 3);
  }
  transpose_quarters(v);
}

void gather(const LaneMap& lanes, const float* map, float* vectors) noexcept {
  for (int64_t row = 0; row < lanes.rows; ++row) {
    float* to = vectors + lanes.row_slot[row] * L;
    for (int64_t c = 0; c < lanes.chunks; ++c) {
      const LaneChunk& chunk = lanes.chunk[c];
      const Pieces pieces = {lanes.offset + row * L, lanes.mask + (row * lanes.chunks + c) * L, chunk.column};
      __m512 v[8];
      if (chunk.width > 4) {
        load_8_columns(map, pieces, v);
      } else {
        load_4_columns(map, pieces, v);
      }
      const int width = chunk.width > 4 ? 8 : 4;
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j) {
        if (j < width && chunk.slot[j] >= 0) _mm512_store_ps(to + chunk.slot[j] * L, v[j]);
      }
    }
  }
}

inline __attribute__((always_inline)) void store_halves(float* map, const Pieces& p, int low, int high, __m512 v) {
  _mm256_mask_storeu_ps(map + p.at(low), p.mask[low], _mm512_castps512_ps256(v));
  _mm256_mask_storeu_ps(map + p.at(high), p.mask[high], _mm512_extractf32x8_ps(v, 1));
}

inline __attribute__((always_inline)) void store_8_columns(float* map, const Pieces& p, const __m512* v) {
  // Quarters 0, 1 (2, 3) of two vectors, interleaved: what transpose_quarters turns into halves of lanes' rows.
  const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  const __m512i second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  __m512 a[4];
  __m512 b[4];
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512d left = _mm512_castps_pd(v[j]);
    const __m512d right = _mm512_castps_pd(v[j + 4]);
    a[j] = _mm512_castpd_ps(_mm512_permutex2var_pd(left, first, right));
    b[j] = _mm512_castpd_ps(_mm512_permutex2var_pd(left, second, right));
  }
  transpose_quarters(a);
  transpose_quarters(b);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    store_halves(map, p, i, i + 4, a[i]);
    store_halves(map, p, i + 8, i + 12, b[i]);
  }
}

inline __attribute__((always_inline)) void store_4_columns(float* map, const Pieces& p, __m512* v) {
  transpose_quarters(v);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm_mask_storeu_ps(map + p.at(i), p.mask[i], _mm512_castps512_ps128(v[i]));
    _mm_mask_storeu_ps(map + p.at(i + 4), p.mask[i + 4], _mm512_extractf32x4_ps(v[i], 1));
    _mm_mask_storeu_ps(map + p.at(i + 8), p.mask[i + 8], _mm512_extractf32x4_ps(v[i], 2));
    _mm_mask_storeu_ps(map + p.at(i + 12), p.mask[i + 12], _mm512_extractf32x4_ps(v[i], 3));
  }
}

void scatter(const LaneMap& lanes, const float* vectors, float* map) noexcept {
  for (int64_t row = 0; row < lanes.rows; ++row) {
    const float* from = vectors + lanes.row_slot[row] * L;
    for (int64_t c = 0; c < lanes.chunks; ++c) {
      const LaneChunk& chunk = lanes.chunk[c];
      const Pieces pieces = {lanes.offset + row * L, lanes.mask + (row * lanes.chunks + c) * L, chunk.column};
      __m512 v[8];
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j)  // unwanted columns are masked: any vector will do
        v[j] = _mm512_load_ps(from + (chunk.slot[j] > 0 ? chunk.slot[j] : 0) * L);
      if (chunk.width > 4) {
        store_8_columns(map, pieces, v);
      } else {
        store_4_columns(map, pieces, v);
      }
    }
  }
}

}  // namespace

const Kernel avx512_kernel = {
    "avx512", Avx512::kLanes, Avx512::kAccumulators, ONNXCOMP_MULTIPLY_TABLE(Avx512), gather, scatter, finish<Avx512>,
};

}  // namespace onnxcomp::sparse_conv
