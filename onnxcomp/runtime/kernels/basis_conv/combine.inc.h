// The arithmetic of every implementation, written once over a vector type.
//
// To be included only by the files that are compiled for one instruction set each. Everything is in an unnamed
// namespace and nothing comes from the standard library: no symbol may leave such a file but its Kernel.
//
// `Isa` provides: Vector (a GCC vector of floats), kLanes, kRegisters, kMostBases (to take together), and static
// load_masked(from, bits), which reads only what is in `bits` and gives zero elsewhere.
#pragma once

#include "kernels/basis_conv/contract.h"

namespace onnxcomp::basis_conv {
namespace {

constexpr int kMostVectors = 7;

// Vectors taken together with D bases: an input is loaded once for all bases, a base's tap once for all vectors. One
// register holds an input, one a mask or a product.
template <class Isa>
constexpr int vectors_for(int bases) {
  const int fitting = (Isa::kRegisters - 2 - bases) / bases;
  return fitting < kMostVectors ? fitting : kMostVectors;
}

// What is a plane away from what came before is not found by hardware prefetchers. Rows far apart are left to them:
// most of what lies between is not wanted.
inline __attribute__((always_inline)) void fetch(const float* from, int64_t floats) {
  constexpr int64_t kLine = 16;
  constexpr int64_t kMostLines = 64;
  if (floats > kMostLines * kLine) return;
  for (const float* end = from + floats; from < end; from += kLine) __builtin_prefetch(from);
}

// Bases first to first + D - 1 of vectors [vector, vector + B) in all channels.
template <class Isa, int D, int B, bool kMasked>
void combine_chunk(const Combine& c, int64_t first, int64_t vector, const float* input, float* maps) noexcept {
  using Vector = typename Isa::Vector;
  constexpr int L = Isa::kLanes;
  const int64_t map = c.vectors * L;  // floats
  const int64_t overlap = vector + B == c.vectors ? c.overlap : 0;
  input += vector * L;
  maps += first * map + vector * L;
  for (int64_t channel = 0; channel < c.channels; ++channel, input += c.stride, maps += c.bases * map) {
    if constexpr (kMasked) fetch(input + c.stride + c.offset[0], c.offset[c.taps - 1] - c.offset[0] + B * L);
    Vector sum[D][B] = {};
    const float* base = c.base + first;
    const uint16_t* mask = kMasked ? c.mask + vector * c.taps : nullptr;
    for (int64_t tap = 0; tap < c.taps; ++tap, base += c.bases) {
      const float* from = input + c.offset[tap];
      Vector weight[D];
#pragma GCC unroll 8
      for (int d = 0; d < D; ++d) weight[d] = base[d] - Vector{};
#pragma GCC unroll 8
      for (int b = 0; b < B; ++b) {
        const float* pixels = from + b * L - (b == B - 1 ? overlap : 0);
        Vector x;
        if constexpr (kMasked) {
          x = Isa::load_masked(pixels, mask[b * c.taps + tap]);
        } else {
          __builtin_memcpy(&x, pixels, sizeof x);
        }
#pragma GCC unroll 8
        for (int d = 0; d < D; ++d) sum[d][b] = weight[d] * x + sum[d][b];
      }
    }
#pragma GCC unroll 8
    for (int d = 0; d < D; ++d) {
#pragma GCC unroll 8
      for (int b = 0; b < B; ++b) __builtin_memcpy(maps + d * map + b * L, &sum[d][b], sizeof sum[d][b]);
    }
  }
}

// Calls what is made for `bases` <= D bases and `vectors` <= B vectors.
template <class Isa, int D, int B>
void select(const Combine& c, int64_t first, int64_t bases, int64_t vector, int64_t vectors, const float* input,
            float* maps) noexcept {
  if constexpr (D > 1) {
    if (bases < D)
      return select<Isa, D - 1, vectors_for<Isa>(D - 1)>(c, first, bases, vector, vectors, input, maps);
  }
  if constexpr (B > 1) {
    if (vectors < B) return select<Isa, D, B - 1>(c, first, bases, vector, vectors, input, maps);
  }
  if (c.mask != nullptr) return combine_chunk<Isa, D, B, true>(c, first, vector, input, maps);
  combine_chunk<Isa, D, B, false>(c, first, vector, input, maps);
}

// Where part `i` begins when `count` are cut into `parts`.
inline int64_t begin_of(int64_t i, int64_t count, int64_t parts) { return i * count / parts; }

template <class Isa>
void combine(const Combine& c, const float* input, float* maps) noexcept {
  const int64_t groups = (c.bases + Isa::kMostBases - 1) / Isa::kMostBases;
  for (int64_t group = 0; group < groups; ++group) {
    const int64_t first = begin_of(group, c.bases, groups);
    const int64_t bases = begin_of(group + 1, c.bases, groups) - first;
    const int64_t most = vectors_for<Isa>(static_cast<int>(bases));
    const int64_t chunks = (c.vectors + most - 1) / most;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const int64_t vector = begin_of(chunk, c.vectors, chunks);
      select<Isa, Isa::kMostBases, vectors_for<Isa>(Isa::kMostBases)>(
          c, first, bases, vector, begin_of(chunk + 1, c.vectors, chunks) - vector, input, maps);
    }
  }
}

}  // namespace
}  // namespace onnxcomp::basis_conv
