// The arithmetic of every implementation, written once over a vector type.
//
// To be included only by the files that are compiled for one instruction set each. Everything is in an unnamed
// namespace and nothing comes from the standard library: no symbol may leave such a file but its Kernel.
//
// `Isa` provides: Vector (of floats), Signs (of as many 32-bit words), Table (what look_up takes of 16 sums), kLanes, and
// static load, store, load_signs, load_table, look_up<I>(table, signs), which takes bits 4 I to 4 I + 3 of each word for
// the sum's code, and fma(a, b, c) = a * b + c. `load_scale(scale, i)` gives the scales of an octet's quad i.
#pragma once

#include "kernels/sign_gemm/contract.h"

namespace onnxcomp::sign_gemm {
namespace {

using Sums __attribute__((vector_size(64))) = float;

// The sign of each input in each code's sum.
constexpr Sums kSignOf[4] = {
    {1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1},
    {1, -1, 1, -1, 1, -1, 1, -1, -1, 1, -1, 1, -1, 1, -1, 1},
    {1, 1, -1, -1, 1, 1, -1, -1, -1, -1, 1, 1, -1, -1, 1, 1},
    {1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1, -1, 1, 1, 1, 1},
};

inline void table(int64_t quads, const float* x, float* table) noexcept {
  for (int64_t quad = 0; quad < quads; ++quad, x += 4, table += kCodes) {
    const Sums sums = kSignOf[0] * x[0] + kSignOf[1] * x[1] + kSignOf[2] * x[2] + kSignOf[3] * x[3];
    __builtin_memcpy(table, &sums, sizeof sums);
  }
}

// Quad I of an octet, added to one set of sums.
template <class Isa, class LoadScale, int I>
inline __attribute__((always_inline)) void add(typename Isa::Vector (&sum)[4], const typename Isa::Signs (&signs)[4],
                                               const char* scale, const float* table, LoadScale load_scale) {
  const auto scales = load_scale(scale, I);
  const auto sums = Isa::load_table(table + I * kCodes);
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) sum[v] = Isa::fma(Isa::template look_up<I>(sums, signs[v]), scales, sum[v]);
}

// Four sums would wait for one another: an FMA takes four cycles, and a quad's work about three. Hence two sets.
template <class Isa, class LoadScale>
inline __attribute__((always_inline)) void multiply_panel(const Panel& p, int64_t scale_bytes, LoadScale load_scale) {
  typename Isa::Vector even[4] = {};
  typename Isa::Vector odd[4] = {};
  const uint32_t* sign = p.sign;
  const char* scale = static_cast<const char*>(p.scale);
  const float* table = p.table;
  for (int64_t octet = 0; octet < p.octets; ++octet) {
    const typename Isa::Signs signs[4] = {Isa::load_signs(sign), Isa::load_signs(sign + Isa::kLanes),
                                          Isa::load_signs(sign + 2 * Isa::kLanes),
                                          Isa::load_signs(sign + 3 * Isa::kLanes)};
    add<Isa, LoadScale, 0>(even, signs, scale, table, load_scale);
    add<Isa, LoadScale, 1>(odd, signs, scale, table, load_scale);
    add<Isa, LoadScale, 2>(even, signs, scale, table, load_scale);
    add<Isa, LoadScale, 3>(odd, signs, scale, table, load_scale);
    add<Isa, LoadScale, 4>(even, signs, scale, table, load_scale);
    add<Isa, LoadScale, 5>(odd, signs, scale, table, load_scale);
    add<Isa, LoadScale, 6>(even, signs, scale, table, load_scale);
    add<Isa, LoadScale, 7>(odd, signs, scale, table, load_scale);
    sign += 4 * Isa::kLanes;
    scale += 8 * scale_bytes;
    table += 8 * kCodes;
  }
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) Isa::store(p.sum + v * Isa::kLanes, even[v] + odd[v]);
}

template <class Isa>
void multiply(const Panel& p) noexcept {
  constexpr int64_t kBytes = Isa::kLanes * 4;
  multiply_panel<Isa>(p, kBytes, [](const char* scale, int i) __attribute__((always_inline)) {
    return Isa::load(scale + i * kBytes);
  });
}

}  // namespace
}  // namespace onnxcomp::sign_gemm
