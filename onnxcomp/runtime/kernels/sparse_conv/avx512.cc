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
  static void stream(float* to, Vector v) { _mm512_stream_ps(to, v); }
  static Vector broadcast(const float* from) { return _mm512_set1_ps(*from); }
  // to[i] = from[i * stride]; what follows in the last vector is zero.
  static void load_every(const float* from, int64_t stride, int64_t count, float* to) {
    if (stride != 2) {
      for (int64_t i = 0; i < count; ++i) to[i] = from[i * stride];
      return;
    }
    const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    for (int64_t i = 0; i < count; i += kLanes) {
      const int64_t floats = 2 * (count - i) - 1;  // that may be read
      const uint32_t inside = floats < 32 ? (1u << floats) - 1 : ~0u;
      const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(inside), from + 2 * i);
      const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(inside >> 16), from + 2 * i + kLanes);
      store(to + i, _mm512_permutex2var_ps(low, even, high));
    }
  }
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

// Sixteen lanes' pieces of a row in memory, each masked.
struct MaskedPieces {
  const int64_t* offset;  // [16] floats
  const uint16_t* mask;   // [16]

  __mmask16 inside(int lane) const { return _load_mask16(const_cast<__mmask16*>(mask + lane)); }
  __mmask8 inside_8(int lane) const { return static_cast<__mmask8>(inside(lane)); }
  __m512 load_16(const float* map, int lane) const { return _mm512_maskz_loadu_ps(inside(lane), map + offset[lane]); }
  __m256 load_8(const float* map, int lane) const { return _mm256_maskz_loadu_ps(inside_8(lane), map + offset[lane]); }
  __m128 load_4(const float* map, int lane) const { return _mm_maskz_loadu_ps(inside_8(lane), map + offset[lane]); }
  void store_16(float* map, int lane, __m512 v) const { _mm512_mask_storeu_ps(map + offset[lane], inside(lane), v); }
  void store_8(float* map, int lane, __m256 v) const { _mm256_mask_storeu_ps(map + offset[lane], inside_8(lane), v); }
  void store_4(float* map, int lane, __m128 v) const { _mm_mask_storeu_ps(map + offset[lane], inside_8(lane), v); }
};

// The same where LaneMap::whole allows it: the grid is regular, and what is loaded are the pieces alone.
struct WholePieces {
  int64_t step[4];  // floats, of each bit of a lane's number
  __mmask16 wanted;  // the chunk's columns

  int64_t offset(int lane) const {
    return (lane & 1 ? step[0] : 0) + (lane & 2 ? step[1] : 0) + (lane & 4 ? step[2] : 0) + (lane & 8 ? step[3] : 0);
  }
  __mmask8 wanted_8() const { return static_cast<__mmask8>(wanted); }
  __m512 load_16(const float* map, int lane) const { return _mm512_loadu_ps(map + offset(lane)); }
  __m256 load_8(const float* map, int lane) const { return _mm256_loadu_ps(map + offset(lane)); }
  __m128 load_4(const float* map, int lane) const { return _mm_loadu_ps(map + offset(lane)); }
  void store_16(float* map, int lane, __m512 v) const { _mm512_mask_storeu_ps(map + offset(lane), wanted, v); }
  void store_8(float* map, int lane, __m256 v) const { _mm256_mask_storeu_ps(map + offset(lane), wanted_8(), v); }
  void store_4(float* map, int lane, __m128 v) const { _mm_mask_storeu_ps(map + offset(lane), wanted_8(), v); }
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

template <class Pieces>
inline __attribute__((always_inline)) void load_16_columns(const float* map, const Pieces& p, __m512* v, int width) {
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = p.load_16(map, i);
  transpose_16(v, width);
}

template <class Pieces>
inline __attribute__((always_inline)) __m512 load_halves(const float* map, const Pieces& p, int low, int high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(p.load_8(map, low)), p.load_8(map, high), 1);
}

template <class Pieces>
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

template <class Pieces>
inline __attribute__((always_inline)) void load_4_columns(const float* map, const Pieces& p, __m512* v) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm512_castps128_ps512(p.load_4(map, i));
    v[i] = _mm512_insertf32x4(v[i], p.load_4(map, i + 4), 1);
    v[i] = _mm512_insertf32x4(v[i], p.load_4(map, i + 8), 2);
    v[i] = _mm512_insertf32x4(v[i], p.load_4(map, i + 12), 3);
  }
  transpose_quarters(v);
}

// Calls one(pieces, map, row) for all rows of a chunk, with `map` where the pieces' offsets begin.
template <class Float, class One>
inline __attribute__((always_inline)) void for_each_row(const LaneMap& lanes, int64_t c, Float* map, One one) {
  const LaneChunk& chunk = lanes.chunk[c];
  const WholePieces whole = {{lanes.step[0], lanes.step[1], lanes.step[2], lanes.step[3]},
                             static_cast<__mmask16>((1u << chunk.width) - 1)};
  map += chunk.column;
  for (int64_t row = 0; row < lanes.rows; ++row) {
    if (lanes.whole[row * lanes.chunks + c]) {
      one(whole, map + lanes.offset[row * L], row);
    } else {
      one(MaskedPieces{lanes.offset + row * L, lanes.mask + (row * lanes.chunks + c) * L}, map, row);
    }
  }
}

// A chunk of up to kColumns columns: 4, 8 or 16.
template <int kColumns>
__attribute__((noinline)) void gather_columns(const LaneMap& lanes, int64_t c, const float* map, float* vectors) {
  const LaneChunk& chunk = lanes.chunk[c];
  const int width = chunk.width;
  for_each_row(lanes, c, map, [&](const auto& pieces, const float* from, int64_t row) __attribute__((always_inline)) {
    __m512 v[16];
    if constexpr (kColumns == 16) {
      load_16_columns(from, pieces, v, width);
    } else if constexpr (kColumns == 8) {
      load_8_columns(from, pieces, v);
    } else {
      load_4_columns(from, pieces, v);
    }
    float* to = vectors + lanes.row_slot[row] * L;
    // From right to left, as LaneChunk asks for.
#pragma GCC unroll 16
    for (int j = kColumns - 1; j >= 0; --j) {
      if (j < width) _mm512_store_ps(to + chunk.slot[j] * L, v[j]);
    }
  });
}

void gather(const LaneMap& lanes, const float* map, float* vectors) noexcept {
  for (int64_t c = 0; c < lanes.chunks; ++c) {
    if (lanes.chunk[c].width > 8) {
      gather_columns<16>(lanes, c, map, vectors);
    } else if (lanes.chunk[c].width > 4) {
      gather_columns<8>(lanes, c, map, vectors);
    } else {
      gather_columns<4>(lanes, c, map, vectors);
    }
  }
}

void shift(const LaneShift& s, float* vectors) noexcept {
  const __m512i lane = _mm512_load_si512(s.neighbours->lane);
  const __mmask16 present = s.neighbours->present;
  for (int64_t channel = 0; channel < s.channels; ++channel, vectors += s.stride * L) {
    for (int64_t i = 0; i < s.moves; ++i) {
      const __m512 from = _mm512_load_ps(vectors + s.move[i].from * L);
      _mm512_store_ps(vectors + s.move[i].to * L, _mm512_maskz_permutexvar_ps(present, lane, from));
    }
  }
}

template <class Pieces>
inline __attribute__((always_inline)) void store_16_columns(float* map, const Pieces& p, __m512* v) {
  transpose_16(v, 16);  // its own inverse
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) p.store_16(map, i, v[i]);
}

template <class Pieces>
inline __attribute__((always_inline)) void store_halves(float* map, const Pieces& p, int low, int high, __m512 v) {
  p.store_8(map, low, _mm512_castps512_ps256(v));
  p.store_8(map, high, _mm512_extractf32x8_ps(v, 1));
}

template <class Pieces>
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

template <class Pieces>
inline __attribute__((always_inline)) void store_4_columns(float* map, const Pieces& p, __m512* v) {
  transpose_quarters(v);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    p.store_4(map, i, _mm512_castps512_ps128(v[i]));
    p.store_4(map, i + 4, _mm512_extractf32x4_ps(v[i], 1));
    p.store_4(map, i + 8, _mm512_extractf32x4_ps(v[i], 2));
    p.store_4(map, i + 12, _mm512_extractf32x4_ps(v[i], 3));
  }
}

// The way back of gather_columns.
template <int kColumns>
__attribute__((noinline)) void scatter_columns(const LaneMap& lanes, int64_t c, const float* vectors, float* map) {
  const LaneChunk& chunk = lanes.chunk[c];
  const int width = chunk.width;
  for_each_row(lanes, c, map, [&](const auto& pieces, float* to, int64_t row) __attribute__((always_inline)) {
    const float* from = vectors + lanes.row_slot[row] * L;
    __m512 v[16];
    // Columns past the chunk repeat its first; they are masked.
#pragma GCC unroll 16
    for (int j = 0; j < kColumns; ++j) v[j] = _mm512_load_ps(from + chunk.slot[j < width ? j : 0] * L);
    if constexpr (kColumns == 16) {
      store_16_columns(to, pieces, v);
    } else if constexpr (kColumns == 8) {
      store_8_columns(to, pieces, v);
    } else {
      store_4_columns(to, pieces, v);
    }
  });
}

void scatter(const LaneMap& lanes, const float* vectors, float* map) noexcept {
  for (int64_t c = 0; c < lanes.chunks; ++c) {
    if (lanes.chunk[c].width > 8) {
      scatter_columns<16>(lanes, c, vectors, map);
    } else if (lanes.chunk[c].width > 4) {
      scatter_columns<8>(lanes, c, vectors, map);
    } else {
      scatter_columns<4>(lanes, c, vectors, map);
    }
  }
}

}  // namespace

const Kernel avx512_kernel = {
    "avx512", Avx512::kLanes, kMaxChunk, ONNXCOMP_TILES(Avx512, 1), ONNXCOMP_TILES(Avx512, 4),
    copy<Avx512>, subsample<Avx512>, gather, shift, scatter, finish<Avx512>,
    sum<Avx512>,
};

}  // namespace onnxcomp::sparse_conv
