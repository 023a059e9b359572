// The arithmetic of every implementation, written once over a vector type.
//
// To be included only by the files that are compiled for one instruction set each. Everything is in an unnamed
// namespace and nothing comes from the standard library: no symbol may leave such a file but its Kernel.
//
// `Isa` provides: Vector (a GCC vector of floats), kLanes, kRegisters, kAccumulators (the most sums), kVectorsOf4 (the
// most vectors of a tile of four output channels), and static load (any alignment), store, broadcast, load_four (four
// floats, again and again), repeat<I> (the I-th of those in all lanes), fma(a, b, c) = a * b + c, and max and min that
// return their *second* operand where one is NaN.
#pragma once

#include "kernels/sparse_conv/contract.h"

namespace onnxcomp::sparse_conv {
namespace {

constexpr int64_t kRowsAhead = 6;  // of a residual from memory: some 400 cycles

// Two FMA units with a latency of four cycles want eight sums in flight: small tiles keep several sets, one for each of
// successive entries, and add them up at the end.
constexpr int sets_for(int sums, int accumulators) {
  const int wanted = sums >= 12 ? 1 : sums >= 6 ? 2 : 4;
  return wanted * sums <= accumulators ? wanted : wanted / 2;
}

// kOutput: of pixels, and written to the output itself. What that asks for costs others a few per cent.
template <class Isa, int G, int A, int B, bool kOutput>
struct Tile {
  using Vector = typename Isa::Vector;
  static constexpr int kPositions = A * B;
  static constexpr int kVectors = G * kPositions;
  static constexpr int kSets = sets_for(kVectors, Isa::kAccumulators);
  static constexpr bool kRegisterShort = G > 1 && kSets * kVectors + G + 1 > Isa::kRegisters;  // one for an input
  static constexpr int64_t kBytes = Isa::kLanes * 4;

  struct Row {
    uint32_t output;
    uint32_t place;
    uint32_t end;

    Row(const Multiply& m, int64_t row) : output(m.output[row]), place(m.place[row]), end(m.row_begin[row + 1]) {}
  };

  // An entry's values, each in all lanes.
  struct Weights {
    Vector of[G];
    const float* last = nullptr;

    // Where a register is short, each product reads the last value from memory. The compiler would read it once, and
    // move a sum to the stack and back for it: to the compiler it is another value each time.
    inline __attribute__((always_inline)) Vector get(int g) {
      if (!kRegisterShort || g < G - 1) return of[g];
      asm("" : "+r"(last));
      return Isa::broadcast(last);
    }
  };

  static inline __attribute__((always_inline)) Weights load_weights(const float* value) {
    if constexpr (G == 1) {
      return {{Isa::broadcast(value)}};
    } else {
      const Vector four = Isa::load_four(value);
      return {{Isa::template repeat<0>(four), Isa::template repeat<1>(four), Isa::template repeat<2>(four),
               Isa::template repeat<3>(four)},
              value + 3};
    }
  }

  static inline __attribute__((always_inline)) void add(Vector (&sum)[kVectors], const Multiply& m, uint16_t index,
                                                        Weights weights) {
    const char* position = m.input + index * m.unit;
#pragma GCC unroll 4
    for (int a = 0; a < A; ++a) {
#pragma GCC unroll 14
      for (int b = 0; b < B; ++b) {
        const Vector input = Isa::load(position + b * kBytes);
#pragma GCC unroll 4
        for (int g = 0; g < G; ++g) {
          Vector& s = sum[g * kPositions + a * B + b];
          s = Isa::fma(weights.get(g), input, s);
        }
      }
      position += m.pitch;
    }
  }

  static inline __attribute__((always_inline)) void add_four(Vector (&sum)[kSets][kVectors], const Multiply& m,
                                                             uint64_t indices, const float* value) {
    if constexpr (G == 1) {
      const Vector values = Isa::load_four(value);
      add(sum[0], m, static_cast<uint16_t>(indices), {{Isa::template repeat<0>(values)}});
      add(sum[1 % kSets], m, static_cast<uint16_t>(indices >> 16), {{Isa::template repeat<1>(values)}});
      add(sum[2 % kSets], m, static_cast<uint16_t>(indices >> 32), {{Isa::template repeat<2>(values)}});
      add(sum[3 % kSets], m, static_cast<uint16_t>(indices >> 48), {{Isa::template repeat<3>(values)}});
    } else {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i)
        add(sum[i % kSets], m, static_cast<uint16_t>(indices >> 16 * i), load_weights(value + i * G));
    }
  }

  static inline __attribute__((always_inline)) void begin(Vector (&sum)[kSets][kVectors], const Multiply& m,
                                                          const Row& row) {
    const Vector zero = {};
#pragma GCC unroll 4
    for (int s = 0; s < kSets; ++s) {
#pragma GCC unroll 28
      for (int v = 0; v < kVectors; ++v) sum[s][v] = zero;
    }
    const float* bias = m.bias + row.output * int64_t{G};
    const float* start = m.start + row.output * G * m.start_stride;
#pragma GCC unroll 28
    for (int v = 0; v < kVectors; ++v)
      sum[0][v] =
          m.start != nullptr ? Isa::load(start + offset(m.start_stride, v)) : Isa::broadcast(bias + v / kPositions);
  }

  // Floats from the first of a row's vectors to another, where output channels are `stride` apart.
  static inline __attribute__((always_inline)) int64_t offset(int64_t stride, int vector) {
    return vector / kPositions * stride + vector % kPositions * Isa::kLanes;
  }

  static inline __attribute__((always_inline)) void end(Vector (&sum)[kSets][kVectors], const Multiply& m,
                                                        const Row& row) {
#pragma GCC unroll 4
    for (int s = 1; s < kSets; ++s) {
#pragma GCC unroll 28
      for (int v = 0; v < kVectors; ++v) sum[0][v] = sum[0][v] + sum[s][v];
    }
    const int64_t place = row.place * G * m.result_stride;
    const auto offset_of = [&](int v) {
      return place + offset(m.result_stride, v) - (kOutput && v % B == B - 1 ? m.overlap : 0);
    };
    if (m.residual != nullptr) {
#pragma GCC unroll 28
      for (int v = 0; v < kVectors; ++v) sum[0][v] = sum[0][v] + Isa::load(m.residual + offset_of(v));
    }
    if (m.clamp) {
      const Vector low = Isa::broadcast(&m.low);
      const Vector high = Isa::broadcast(&m.high);
#pragma GCC unroll 28
      for (int v = 0; v < kVectors; ++v) sum[0][v] = Isa::min(high, Isa::max(low, sum[0][v]));
    }
    if (kOutput && m.stream) {
#pragma GCC unroll 28
      for (int v = 0; v < kVectors; ++v) Isa::stream(m.result + offset_of(v), sum[0][v]);
      return;
    }
#pragma GCC unroll 28
    for (int v = 0; v < kVectors; ++v) Isa::store(m.result + offset_of(v), sum[0][v]);
  }

  // What is a plane away from what came before is not found by hardware prefetchers. `channels` of them, G or 1.
  static inline __attribute__((always_inline)) void fetch(const float* from, int64_t stride, int channels) {
#pragma GCC unroll 28
    for (int v = 0; v < channels * kPositions; ++v) __builtin_prefetch(from + offset(stride, v));
  }

  // The indices of entries i to i + 3, the first in the lowest bits.
  static inline __attribute__((always_inline)) uint64_t load_indices(const Multiply& m, uint32_t i) {
    uint64_t four;
    __builtin_memcpy(&four, m.index + i, sizeof four);
    return four;
  }

  // With one output channel a row, loads are what bounds this. So four values and four indices come in one load each;
  // and since an index that is loaded just before it is needed waits in line behind the products' loads, and the next
  // products behind it, indices are loaded four entries, and what concerns a row one row, ahead.
  static void multiply(const Multiply& m) noexcept {
    uint32_t i = m.row_begin[0];
    uint64_t indices = load_indices(m, i);
    Row next_row(m, 0);
    const float* ahead = m.ahead;
    const float* const ahead_end = ahead + m.ahead_channels * m.ahead_stride;
    const int64_t ahead_step = kOutput ? m.ahead_channels / m.rows + 1 : 0;
    for (int64_t r = 0; r < m.rows; ++r) {
      const Row row = next_row;
      next_row = Row(m, r + 1 < m.rows ? r + 1 : r);
      const uint64_t of_next_row = load_indices(m, row.end);
      if (m.residual != nullptr) {
        const int64_t later = r + kRowsAhead < m.rows ? r + kRowsAhead : m.rows - 1;
        fetch(m.residual + m.place[later] * int64_t{G} * m.result_stride, m.result_stride, G);
      }
      if constexpr (kOutput) {
        for (int64_t step = 0; step < ahead_step && ahead != ahead_end; ++step, ahead += m.ahead_stride)
          fetch(ahead, 0, 1);
      }
      Vector sum[kSets][kVectors];
      begin(sum, m, row);
      for (; i + 4 <= row.end; i += 4) {
        const uint64_t four = indices;
        indices = load_indices(m, i + 4);
        add_four(sum, m, four, m.value + i * int64_t{G});
      }
      for (; i < row.end; ++i, indices >>= 16)
        add(sum[0], m, static_cast<uint16_t>(indices), load_weights(m.value + i * int64_t{G}));
      indices = of_next_row;
      end(sum, m, row);
    }
  }
};

template <class Isa, int G>
constexpr int kMostVectors = G == 1 ? Isa::kAccumulators : Isa::kVectorsOf4;

template <class Isa, int G, int A, int B, bool kOutput>
constexpr MultiplyFn select() {
  if constexpr (A * B <= kMostVectors<Isa, G>) {
    return Tile<Isa, G, A, B, kOutput>::multiply;
  } else {
    return nullptr;
  }
}

template <class Isa>
void copy(const Copy& c, const float* from, float* vectors) noexcept {
  const typename Isa::Vector zero = {};
  const int64_t whole = c.count / Isa::kLanes * Isa::kLanes;
  for (int64_t row = 0; row < c.rows; ++row, from += c.stride) {
    for (int64_t i = 0; i < whole; i += Isa::kLanes, vectors += Isa::kLanes) Isa::store(vectors, Isa::load(from + i));
    if (whole == c.count) continue;
    if (whole > 0) {
      Isa::store(vectors, Isa::load(from + c.count - Isa::kLanes));
    } else {
      Isa::store(vectors, zero);
      for (int64_t i = 0; i < c.count; ++i) vectors[i] = from[i];
    }
    vectors += Isa::kLanes;
  }
}

template <class Isa>
void subsample(const Subsample& s, const float* from, float* vectors) noexcept {
  for (int64_t plane = 0; plane < s.planes; ++plane) {
    const float* row = from + plane * s.plane;
    float* to = vectors + plane * s.pitch;
    int64_t column = s.column;
    for (int64_t left = s.count; left > 0; row += s.row, column = 0) {
      const int64_t count = left < s.width - column ? left : s.width - column;
      Isa::load_every(row + column * s.stride, s.stride, count, to);
      to += count;
      left -= count;
    }
    const int64_t cut_off = s.count % Isa::kLanes;
    if (cut_off != 0 && s.count > Isa::kLanes) Isa::store(to - cut_off, Isa::load(to - Isa::kLanes));
  }
}

template <class Isa>
void sum(int64_t floats, float* channels) noexcept {
  using Vector = typename Isa::Vector;
  for (float* end = channels + floats; channels < end; channels += Isa::kLanes) {
    const Vector x0 = Isa::load(channels);
    const Vector x1 = Isa::load(channels + floats);
    const Vector x2 = Isa::load(channels + 2 * floats);
    const Vector x3 = Isa::load(channels + 3 * floats);
    const Vector first[2] = {x0 + x1, x0 - x1};
    const Vector last[2] = {x2 + x3, x2 - x3};
#pragma GCC unroll 2
    for (int p = 0; p < 2; ++p) {
      Isa::store(channels + p * floats, first[p] + last[0]);
      Isa::store(channels + (p + 2) * floats, first[p] - last[1]);
      Isa::store(channels + (p + 4) * floats, first[p] + last[1]);
      Isa::store(channels + (p + 6) * floats, first[p] - last[0]);
    }
  }
}

// e^x with a relative error of about 1e-7; infinity from 88.7 up, 1e-38 from -87 down.
//
// e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2: the Taylor series of e^r is cut where its next term,
// r^8 / 8! = 5e-9, no longer shows in a float.
template <class Isa>
inline typename Isa::Vector exponential(typename Isa::Vector x) {
  using Vector = typename Isa::Vector;
  using Bits __attribute__((vector_size(sizeof(Vector)))) = uint32_t;
  const auto all = [](float value) { return Isa::broadcast(&value); };
  x = Isa::min(all(89.0f), Isa::max(all(-87.0f), x));
  // Adding 1.5 x 2^23 rounds to an integer and leaves it in the low bits of the sum.
  const Vector shifted = Isa::fma(x, all(1.44269504f), all(0x1.8p23f));
  const Vector n = shifted - all(0x1.8p23f);
  // ln 2 in two parts, the first short enough for n times it to be exact.
  Vector r = Isa::fma(n, all(-0x1.62ep-1f), x);
  r = Isa::fma(n, all(-0x1.0bfbe8p-15f), r);
  Vector series = all(1.0f / 5040);
  series = Isa::fma(series, r, all(1.0f / 720));
  series = Isa::fma(series, r, all(1.0f / 120));
  series = Isa::fma(series, r, all(1.0f / 24));
  series = Isa::fma(series, r, all(1.0f / 6));
  series = Isa::fma(series, r, all(0.5f));
  series = Isa::fma(series, r, all(1.0f));
  series = Isa::fma(series, r, all(1.0f));
  const Bits exponent = (reinterpret_cast<Bits>(shifted) + 127u) << 23;
  return series * reinterpret_cast<Vector>(exponent);
}

template <class Isa>
inline typename Isa::Vector sigmoid(typename Isa::Vector x) {
  const float one = 1;
  return Isa::broadcast(&one) / (Isa::broadcast(&one) + exponential<Isa>(-x));
}

template <class Isa>
inline typename Isa::Vector hard_sigmoid(typename Isa::Vector x) {
  const auto all = [](float value) { return Isa::broadcast(&value); };
  return Isa::min(all(1.0f), Isa::max(all(0.0f), Isa::fma(x, all(1.0f / 6), all(0.5f))));
}

// y = apply(y + residual).
template <class Isa, class Apply>
inline void for_each(const float* residual, float* y, int64_t count, Apply apply) {
  for (int64_t i = 0; i < count; i += Isa::kLanes) {
    typename Isa::Vector v = Isa::load(y + i);
    if (residual != nullptr) v = v + Isa::load(residual + i);
    Isa::store(y + i, apply(v));
  }
}

template <class Isa>
void finish(const Finish& f, const float* residual, float* y, int64_t count) noexcept {
  using Vector = typename Isa::Vector;
  const Vector low = Isa::broadcast(&f.low);
  const Vector high = Isa::broadcast(&f.high);
  const Vector alpha = Isa::broadcast(&f.alpha);
  const Vector zero = {};
  switch (f.activation) {
    case Activation::none:
      return for_each<Isa>(residual, y, count, [](Vector v) { return v; });
    case Activation::relu:
    case Activation::clip:
      return for_each<Isa>(residual, y, count, [=](Vector v) { return Isa::min(high, Isa::max(low, v)); });
    case Activation::leaky_relu:
      return for_each<Isa>(residual, y, count,
                           [=](Vector v) { return Isa::fma(alpha, Isa::min(zero, v), Isa::max(zero, v)); });
    case Activation::sigmoid:
      return for_each<Isa>(residual, y, count, [](Vector v) { return sigmoid<Isa>(v); });
    case Activation::hard_swish:
      return for_each<Isa>(residual, y, count, [](Vector v) { return v * hard_sigmoid<Isa>(v); });
    case Activation::silu:
      return for_each<Isa>(residual, y, count, [](Vector v) { return v * sigmoid<Isa>(v); });
  }
}

#define ONNXCOMP_MINORS(Isa, G, A, kOutput)                                                              \
  {select<Isa, G, A, 1, kOutput>(),  select<Isa, G, A, 2, kOutput>(),  select<Isa, G, A, 3, kOutput>(),   \
   select<Isa, G, A, 4, kOutput>(),  select<Isa, G, A, 5, kOutput>(),  select<Isa, G, A, 6, kOutput>(),   \
   select<Isa, G, A, 7, kOutput>(),  select<Isa, G, A, 8, kOutput>(),  select<Isa, G, A, 9, kOutput>(),   \
   select<Isa, G, A, 10, kOutput>(), select<Isa, G, A, 11, kOutput>(), select<Isa, G, A, 12, kOutput>(), \
   select<Isa, G, A, 13, kOutput>(), select<Isa, G, A, 14, kOutput>()}
#define ONNXCOMP_TILES(Isa, G)                                                               \
  {                                                                                          \
    kMostVectors<Isa, G>,                                                                    \
        {ONNXCOMP_MINORS(Isa, G, 1, false), ONNXCOMP_MINORS(Isa, G, 2, false),               \
         ONNXCOMP_MINORS(Isa, G, 3, false), ONNXCOMP_MINORS(Isa, G, 4, false)},              \
        ONNXCOMP_MINORS(Isa, G, 1, true)                                                     \
  }

}  // namespace
}  // namespace onnxcomp::sparse_conv
