// Sparse convolution for AVX-512 (F, VL, DQ, BW): sixteen lanes, 28 of 32 registers hold sums.
#include <immintrin.h>

#include "kernels/sparse_conv/list.h"
#include "kernels/sparse_conv/tile.inc.h"

namespace onnxcomp::sparse_conv {
namespace {

struct Avx512 {
  using Vector = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kRegisters = 32;
  static constexpr int kAccumulators = 28;
  static constexpr int kVectorsOf4 = 7;

  static Vector load(const void* from) { return _mm512_loadu_ps(from); }
  static void store(float* to, Vector v) { _mm512_storeu_ps(to, v); }
  static Vector broadcast(const float* from) { return _mm512_set1_ps(*from); }
  static Vector load_four(const float* from) { return _mm512_broadcast_f32x4(_mm_loadu_ps(from)); }
  template <int I>
  static Vector repeat(Vector four) {
    return _mm512_permute_ps(four, I * 0x55);
  }
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
  const int64_t* offset;  // [16] floats
  const uint16_t* mask;   // [16]

  __mmask16 inside(int lane) const { return _load_mask16(const_cast<__mmask16*>(mask + lane)); }
  __mmask8 inside_8(int lane) const { return static_cast<__mmask8>(inside(lane)); }
};

// v[i] holds row i, of lane i; on return, column i of all lanes. Columns from `width` on are not needed.
inline __attribute__((always_inline)) void transpose_16(__m512* v, int width) {
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4)
    transpose_quarters(v + i);  // v[i + j]: columns j, j + 4, j + 8, j + 12 of lanes i to i + 3
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512 low_even = _mm512_shuffle_f32x4(v[j], v[j + 4], 0x88);
    const __m512 low_odd = _mm512_shuffle_f32x4(v[j], v[j + 4], 0xdd);
    const __m512 high_even = _mm512_shuffle_f32x4(v[j + 8], v[j + 12], 0x88);
    const __m512 high_odd = _mm512_shuffle_f32x4(v[j + 8], v[j + 12], 0xdd);
    v[j] = _mm512_shuffle_f32x4(low_even, high_even, 0x88);
    v[j + 4] = _mm512_shuffle_f32x4(low_odd, high_odd, 0x88);
    v[j + 8] = _mm512_shuffle_f32x4(low_even, high_even, 0xdd);
    if (width > 12) v[j + 12] = _mm512_shuffle_f32x4(low_odd, high_odd, 0xdd);
  }
}

inline __attribute__((always_inline)) void load_16_columns(const float* map, const Pieces& p, __m512* v, int width) {
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = _mm512_maskz_loadu_ps(p.inside(i), map + p.offset[i]);
  transpose_16(v, width);
}

inline __attribute__((always_inline)) __m512 load_halves(const float* map, const Pieces& p, int low, int high) {
  const __m256 a = _mm256_maskz_loadu_ps(p.inside_8(low), map + p.offset[low]);
  const __m256 b = _mm256_maskz_loadu_ps(p.inside_8(high), map + p.offset[high]);
  return _mm512_insertf32x8(_mm512_castps256_ps512(a), b, 1);
}

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

inline __attribute__((always_inline)) __m128 load_quarter(const float* map, const Pieces& p, int lane) {
  return _mm_maskz_loadu_ps(p.inside_8(lane), map + p.offset[lane]);
}

inline __attribute__((always_inline)) void load_4_columns(const float* map, const Pieces& p, __m512* v) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm512_castps128_ps512(load_quarter(map, p, i));
    v[i] = _mm512_insertf32x4(v[i], load_quarter(map, p, i + 4), 1);
    v[i] = _mm512_insertf32x4(v[i], load_quarter(map, p, i + 8), 2);
    v[i] = _mm512_insertf32x4(v[i], load_quarter(map, p, i + 12), 3);
  }
  transpose_quarters(v);
}

// Stores columns [0, min(columns, width)) from right to left, as LaneChunk asks for.
inline __attribute__((always_inline)) void store_columns(const LaneChunk& chunk, int columns, const __m512* v,
                                                         float* to) {
#pragma GCC unroll 16
  for (int j = columns - 1; j >= 0; --j) {
    if (j < chunk.width) _mm512_store_ps(to + chunk.slot[j] * L, v[j]);
  }
}

void gather(const LaneMap& lanes, const float* map, float* vectors) noexcept {
  for (int64_t row = 0; row < lanes.rows; ++row) {
    float* to = vectors + lanes.row_slot[row] * L;
    for (int64_t c = 0; c < lanes.chunks; ++c) {
      const LaneChunk& chunk = lanes.chunk[c];
      const float* from = map + chunk.column;
      const Pieces pieces = {lanes.offset + row * L, lanes.mask + (row * lanes.chunks + c) * L};
      __m512 v[16];
      if (chunk.width > 8) {
        load_16_columns(from, pieces, v, chunk.width);
        store_columns(chunk, 16, v, to);
      } else if (chunk.width > 4) {
        load_8_columns(from, pieces, v);
        store_columns(chunk, 8, v, to);
      } else {
        load_4_columns(from, pieces, v);
        store_columns(chunk, 4, v, to);
      }
    }
  }
}

inline __attribute__((always_inline)) void store_16_columns(float* map, const Pieces& p, __m512* v) {
  transpose_16(v, 16);  // its own inverse
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) _mm512_mask_storeu_ps(map + p.offset[i], p.inside(i), v[i]);
}

inline __attribute__((always_inline)) void store_halves(float* map, const Pieces& p, int low, int high, __m512 v) {
  _mm256_mask_storeu_ps(map + p.offset[low], p.inside_8(low), _mm512_castps512_ps256(v));
  _mm256_mask_storeu_ps(map + p.offset[high], p.inside_8(high), _mm512_extractf32x8_ps(v, 1));
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

inline __attribute__((always_inline)) void store_quarter(float* map, const Pieces& p, int lane, __m128 v) {
  _mm_mask_storeu_ps(map + p.offset[lane], p.inside_8(lane), v);
}

inline __attribute__((always_inline)) void store_4_columns(float* map, const Pieces& p, __m512* v) {
  transpose_quarters(v);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    store_quarter(map, p, i, _mm512_castps512_ps128(v[i]));
    store_quarter(map, p, i + 4, _mm512_extractf32x4_ps(v[i], 1));
    store_quarter(map, p, i + 8, _mm512_extractf32x4_ps(v[i], 2));
    store_quarter(map, p, i + 12, _mm512_extractf32x4_ps(v[i], 3));
  }
}

// Columns past the chunk repeat its first; they are masked.
inline __attribute__((always_inline)) void load_columns(const LaneChunk& chunk, int columns, const float* from,
                                                        __m512* v) {
#pragma GCC unroll 16
  for (int j = 0; j < columns; ++j) v[j] = _mm512_load_ps(from + chunk.slot[j < chunk.width ? j : 0] * L);
}

void scatter(const LaneMap& lanes, const float* vectors, float* map) noexcept {
  for (int64_t row = 0; row < lanes.rows; ++row) {
    const float* from = vectors + lanes.row_slot[row] * L;
    for (int64_t c = 0; c < lanes.chunks; ++c) {
      const LaneChunk& chunk = lanes.chunk[c];
      float* to = map + chunk.column;
      const Pieces pieces = {lanes.offset + row * L, lanes.mask + (row * lanes.chunks + c) * L};
      __m512 v[16];
      if (chunk.width > 8) {
        load_columns(chunk, 16, from, v);
        store_16_columns(to, pieces, v);
      } else if (chunk.width > 4) {
        load_columns(chunk, 8, from, v);
        store_8_columns(to, pieces, v);
      } else {
        load_columns(chunk, 4, from, v);
        store_4_columns(to, pieces, v);
      }
    }
  }
}

}  // namespace

const Kernel avx512_kernel = {
    "avx512", Avx512::kLanes, kMaxChunk, ONNXCOMP_TILES(Avx512, 1), ONNXCOMP_TILES(Avx512, 4),
    copy<Avx512>, gather, scatter, finish<Avx512>,
};

}  // namespace onnxcomp::sparse_conv
