// Output channels as lanes, for AVX-512 (F, VL, DQ, BW): 28 of 32 registers hold sums.
#include <immintrin.h>

#include "kernels/channel_conv/list.h"

namespace onnxcomp::channel_conv {
namespace {

constexpr int L = 16;
constexpr int64_t kBytes = 64;

// Two FMA units with a latency of four cycles want eight sums in flight: small tiles keep several sets,
// one for each of successive entries, and add them up at the end.
constexpr int sets_for(int accumulators) {
  return accumulators >= 12 ? 1 : accumulators >= 6 ? 2 : 4;
}

template <int A, int B>
struct Tile {
  static constexpr int kSets = sets_for(A * B);

  static inline __attribute__((always_inline)) void begin(__m512 (&sum)[kSets][A][B], const Sums& s) {
    const __m512 bias = _mm512_loadu_ps(s.bias);
    const float* const start = s.start;
#pragma GCC unroll 8
    for (int set = 0; set < kSets; ++set) {
#pragma GCC unroll 4
      for (int a = 0; a < A; ++a) {
#pragma GCC unroll 14
        for (int b = 0; b < B; ++b) {
          if (set > 0) {
            sum[set][a][b] = _mm512_setzero_ps();
          } else {
            sum[set][a][b] = start != nullptr ? _mm512_load_ps(start + (a * B + b) * L) : bias;
          }
        }
      }
    }
  }

  static inline __attribute__((always_inline)) void end(__m512 (&sum)[kSets][A][B], const Sums& s) {
#pragma GCC unroll 8
    for (int set = 1; set < kSets; ++set) {
#pragma GCC unroll 4
      for (int a = 0; a < A; ++a) {
#pragma GCC unroll 14
        for (int b = 0; b < B; ++b) sum[0][a][b] = _mm512_add_ps(sum[0][a][b], sum[set][a][b]);
      }
    }
    if (s.clamp) {
      const __m512 low = _mm512_set1_ps(s.low);
      const __m512 high = _mm512_set1_ps(s.high);
#pragma GCC unroll 4
      for (int a = 0; a < A; ++a) {
#pragma GCC unroll 14
        for (int b = 0; b < B; ++b) sum[0][a][b] = _mm512_min_ps(high, _mm512_max_ps(low, sum[0][a][b]));
      }
    }
    float* const result = s.result;
#pragma GCC unroll 4
    for (int a = 0; a < A; ++a) {
#pragma GCC unroll 14
      for (int b = 0; b < B; ++b) _mm512_store_ps(result + (a * B + b) * L, sum[0][a][b]);
    }
  }

  static inline __attribute__((always_inline)) void add_block(__m512 (&sum)[A][B], const char* pixel, int64_t pitch,
                                                              __m512 value) {
#pragma GCC unroll 4
    for (int a = 0; a < A; ++a) {
#pragma GCC unroll 14
      for (int b = 0; b < B; ++b) {
        const __m512 x = _mm512_set1_ps(*reinterpret_cast<const float*>(pixel + b * kBytes));
        sum[a][b] = _mm512_fmadd_ps(value, x, sum[a][b]);
      }
      pixel += pitch;
    }
  }

  // As assembly since GCC 12 otherwise permutes all pixels before it adds any, which takes more registers than there
  // are.
  static inline __attribute__((always_inline)) void add_window(__m512 (&sum)[A][B], const char* pixel, int64_t pitch,
                                                               __m512 value, __m512i place) {
#pragma GCC unroll 4
    for (int a = 0; a < A; ++a) {
      asm("" : "+r"(pixel));  // or the address of every pixel is kept, on the stack
#pragma GCC unroll 14
      for (int b = 0; b < B; ++b) {
        __m512 x;
        asm("vpermps %[window], %[place], %[x]"
            : [x] "=v"(x)
            : [place] "v"(place), [window] "m"(*reinterpret_cast<const __m512*>(pixel + b * kBytes)));
        asm("vfmadd231ps %[x], %[value], %[sum]" : [sum] "+v"(sum[a][b]) : [x] "v"(x), [value] "v"(value));
      }
      pixel += pitch;
    }
  }

  // The offsets of two entries, the first in the low half.
  static inline __attribute__((always_inline)) uint64_t load_pair(const int32_t* offset) {
    uint64_t pair;
    __builtin_memcpy(&pair, offset, sizeof pair);
    return pair;
  }

  // Adds entry i with add(sum, pixel, i). An offset that is loaded just before it is needed waits in line behind the
  // loads of the last entry's pixels, and this entry's pixels behind it: so offsets come two in a load, two ahead.
  template <class Add>
  static inline __attribute__((always_inline)) void multiply(int64_t count, const int32_t* offset, const Sums& s,
                                                             Add add) {
    const char* const input = s.input;
    uint64_t next = load_pair(offset);
    __m512 sum[kSets][A][B];
    begin(sum, s);
    int64_t i = 0;
    const auto add_two = [&](__m512 (&first)[A][B], __m512 (&second)[A][B]) __attribute__((always_inline)) {
      const uint64_t pair = next;
      next = load_pair(offset + i + 2);
      asm volatile("" : "+r"(next) : : "memory");  // or GCC moves the load to where it is needed
      add(first, input + static_cast<int32_t>(pair), i);
      add(second, input + static_cast<int32_t>(pair >> 32), i + 1);
      i += 2;
    };
    while (i + (kSets > 2 ? 4 : 2) <= count) {
      add_two(sum[0], sum[1 % kSets]);
      if constexpr (kSets > 2) add_two(sum[2], sum[3]);
    }
    for (; i < count; ++i) add(sum[0], input + offset[i], i);
    end(sum, s);
  }

  static void blocks(const Blocks& w, const Sums& s) noexcept {
    const int64_t pitch = s.pitch;
    const float* const value = w.value;
    multiply(w.count, w.offset, s,
             [=](__m512 (&sum)[A][B], const char* pixel, int64_t i) __attribute__((always_inline)) {
               add_block(sum, pixel, pitch, _mm512_load_ps(value + i * L));
             });
  }

  static void windows(const Windows& w, const Sums& s) noexcept {
    const int64_t pitch = s.pitch;
    const float* const value = w.value;
    const auto* const place = reinterpret_cast<const __m128i*>(w.place);
    __m512i next = _mm512_cvtepu8_epi32(_mm_load_si128(place));  // ahead, like offsets
    multiply(w.count, w.offset, s,
             [&](__m512 (&sum)[A][B], const char* pixel, int64_t i) __attribute__((always_inline)) {
               const __m512i here = next;
               next = _mm512_cvtepu8_epi32(_mm_load_si128(place + i + 1));
               add_window(sum, pixel, pitch, _mm512_load_ps(value + i * L), here);
             });
  }
};

template <int A, int B>
constexpr BlocksFn blocks() {
  if constexpr (A * B <= kAccumulators) {
    return Tile<A, B>::blocks;
  } else {
    return nullptr;
  }
}

template <int A, int B>
constexpr WindowsFn windows() {
  if constexpr (A * B <= kAccumulators) {
    return Tile<A, B>::windows;
  } else {
    return nullptr;
  }
}

// V vectors of pixels, of `Outputs` output channels at a time. Vectors share the load of a value: with more than one,
// FMAs are what bounds this, no longer loads.
template <int V, int Outputs>
void pixels_of(const Pixels& p) noexcept {
  const __m512 low = _mm512_set1_ps(p.low);
  const __m512 high = _mm512_set1_ps(p.high);
  for (int first = 0; first < L; first += Outputs) {
    __m512 sum[Outputs][V];
#pragma GCC unroll 16
    for (int o = 0; o < Outputs; ++o) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sum[o][v] = _mm512_set1_ps(p.bias[first + o]);
    }
    const float* value = p.value + first;
    uint32_t next = p.channel[0];
    for (int64_t i = 0; i < p.count; ++i, value += L) {
      const float* from = p.x + next * p.x_stride;
      next = p.channel[i + 1];
      asm volatile("" : "+r"(next) : : "memory");  // as in Tile
      if (first == 0) {
        // The next part of the map: each channel's lies on a page of its own, where no hardware prefetcher finds it.
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) _mm_prefetch(from + (V + v) * L, _MM_HINT_T1);
      }
      __m512 x[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v)
        x[v] = v + 1 < V ? _mm512_loadu_ps(from + v * L) : _mm512_maskz_loadu_ps(p.mask, from + v * L);
#pragma GCC unroll 16
      for (int o = 0; o < Outputs; ++o) {
        const __m512 repeated = _mm512_set1_ps(value[o]);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[o][v] = _mm512_fmadd_ps(repeated, x[v], sum[o][v]);
      }
    }
#pragma GCC unroll 16
    for (int o = 0; o < Outputs; ++o) {
      float* const to = p.y + (first + o) * p.y_stride;
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        if (p.clamp) sum[o][v] = _mm512_min_ps(high, _mm512_max_ps(low, sum[o][v]));
        if (v + 1 < V) {
          _mm512_storeu_ps(to + v * L, sum[o][v]);
        } else {
          _mm512_mask_storeu_ps(to + v * L, p.mask, sum[o][v]);
        }
      }
    }
  }
}

void pixels(const Pixels& p) noexcept {
  switch (p.vectors) {
    case 1:
      return pixels_of<1, 16>(p);
    case 2:
      return pixels_of<2, 8>(p);
    default:
      return pixels_of<3, 8>(p);
  }
}

// v[i] becomes column i of the 16 x 16 floats.
inline __attribute__((always_inline)) void transpose(__m512 (&v)[16]) {
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    const __m512 low01 = _mm512_unpacklo_ps(v[i], v[i + 1]);
    const __m512 high01 = _mm512_unpackhi_ps(v[i], v[i + 1]);
    const __m512 low23 = _mm512_unpacklo_ps(v[i + 2], v[i + 3]);
    const __m512 high23 = _mm512_unpackhi_ps(v[i + 2], v[i + 3]);
    v[i] = _mm512_shuffle_ps(low01, low23, 0x44);
    v[i + 1] = _mm512_shuffle_ps(low01, low23, 0xee);
    v[i + 2] = _mm512_shuffle_ps(high01, high23, 0x44);
    v[i + 3] = _mm512_shuffle_ps(high01, high23, 0xee);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {  // v[i + j]: columns j, j + 4, j + 8, j + 12 of rows i to i + 3
    const __m512 low_even = _mm512_shuffle_f32x4(v[j], v[j + 4], 0x88);
    const __m512 low_odd = _mm512_shuffle_f32x4(v[j], v[j + 4], 0xdd);
    const __m512 high_even = _mm512_shuffle_f32x4(v[j + 8], v[j + 12], 0x88);
    const __m512 high_odd = _mm512_shuffle_f32x4(v[j + 8], v[j + 12], 0xdd);
    v[j] = _mm512_shuffle_f32x4(low_even, high_even, 0x88);
    v[j + 4] = _mm512_shuffle_f32x4(low_odd, high_odd, 0x88);
    v[j + 8] = _mm512_shuffle_f32x4(low_even, high_even, 0xdd);
    v[j + 12] = _mm512_shuffle_f32x4(low_odd, high_odd, 0xdd);
  }
}

void gather(const Planes& planes, const sparse_conv::LaneChunk& chunk, uint16_t mask, const float* from,
            float* vectors) noexcept {
  __m512 v[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i)
    v[i] = _mm512_maskz_loadu_ps(i < planes.channels ? mask : uint16_t{0}, from + i * planes.stride);
  transpose(v);
#pragma GCC unroll 16
  for (int j = 15; j >= 0; --j) {
    if (j < chunk.width) _mm512_store_ps(vectors + chunk.slot[j] * L, v[j]);
  }
}

void scatter(const Planes& planes, int32_t count, const float* vectors, float* to) noexcept {
  __m512 v[16];
#pragma GCC unroll 16
  for (int j = 0; j < 16; ++j) v[j] = _mm512_load_ps(vectors + (j < count ? j : 0) * L);
  transpose(v);
  const auto mask = static_cast<__mmask16>((1u << count) - 1);
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) {
    if (i < planes.channels) _mm512_mask_storeu_ps(to + i * planes.stride, mask, v[i]);
  }
}

#define ONNXCOMP_MINORS(form, A)                                                                          \
  {form<A, 1>(), form<A, 2>(), form<A, 3>(),  form<A, 4>(),  form<A, 5>(),  form<A, 6>(),  form<A, 7>(),  \
   form<A, 8>(), form<A, 9>(), form<A, 10>(), form<A, 11>(), form<A, 12>(), form<A, 13>(), form<A, 14>()}
#define ONNXCOMP_TABLE(form) \
  {ONNXCOMP_MINORS(form, 1), ONNXCOMP_MINORS(form, 2), ONNXCOMP_MINORS(form, 3), ONNXCOMP_MINORS(form, 4)}

}  // namespace

const Kernel avx512_kernel = {"avx512", ONNXCOMP_TABLE(blocks), ONNXCOMP_TABLE(windows), pixels, gather, scatter};

}  // namespace onnxcomp::channel_conv
