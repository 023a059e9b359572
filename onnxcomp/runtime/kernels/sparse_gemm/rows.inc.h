// Compressed rows times a panel of L * V columns, or times one column, for any instruction set.
//
// To be included only by the files that are compiled for one instruction set each. Everything is in an unnamed
// namespace and nothing comes from the standard library: no symbol may leave such a file but its Kernel.
#pragma once

#include "kernels/sparse_gemm/contract.h"

namespace onnxcomp::sparse_gemm {
namespace {

// The processor reads ahead within a page of 4 KB; weights are read once, so every new page would be waited for.
constexpr int64_t kAheadBytes = 8192;

inline __attribute__((always_inline)) void read_ahead(const float* value, const void* index, int64_t index_bytes) {
  __builtin_prefetch(reinterpret_cast<const char*>(value) + kAheadBytes);
  __builtin_prefetch(static_cast<const char*>(index) + kAheadBytes / 4 * index_bytes);
}

template <int L, int V>
struct Panel {
  using Vector __attribute__((vector_size(L * 4))) = float;
  // Two FMA units with a latency of four cycles want eight sums in flight.
  static constexpr int kSets = V >= 4 ? 2 : V >= 2 ? 4 : 8;

  static inline __attribute__((always_inline)) void add(Vector (&sum)[V], float value, const float* input) {
    const Vector weight = value - Vector{};
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      Vector x;
      __builtin_memcpy(&x, input + v * L, sizeof x);
      sum[v] = weight * x + sum[v];
    }
  }

  static void multiply(const Rows& m) noexcept {
    constexpr int64_t kWidth = L * V;
    const uint16_t* index = m.index;
    const float* value = m.value;
    const float* input = m.input;
    for (int64_t row = 0; row < m.rows; ++row) {
      const uint32_t last = m.row_begin[row + 1];
      uint32_t i = m.row_begin[row];
      float* to = m.sum + m.row[row] * kWidth;
      Vector sum[kSets][V] = {};
      __builtin_memcpy(&sum[0], to, sizeof sum[0]);
      for (; i + kSets <= last; i += kSets) {
        read_ahead(value + i, index + i, sizeof *index);
#pragma GCC unroll 8
        for (int s = 0; s < kSets; ++s) add(sum[s], value[i + s], input + index[i + s] * kWidth);
      }
      for (; i < last; ++i) add(sum[0], value[i], input + index[i] * kWidth);
#pragma GCC unroll 8
      for (int s = 1; s < kSets; ++s) {
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) sum[0][v] += sum[s][v];
      }
      __builtin_memcpy(to, &sum[0], sizeof sum[0]);
    }
  }
};

void dot(const Rows& m) noexcept {
  constexpr int kSets = 8;
  for (int64_t row = 0; row < m.rows; ++row) {
    const uint32_t last = m.row_begin[row + 1];
    uint32_t i = m.row_begin[row];
    float sum[kSets] = {};
    for (; i + kSets <= last; i += kSets) {
      read_ahead(m.value + i, m.index + i, sizeof *m.index);
#pragma GCC unroll 8
      for (int s = 0; s < kSets; ++s) sum[s] += m.value[i + s] * m.input[m.index[i + s]];
    }
    for (; i < last; ++i) sum[0] += m.value[i] * m.input[m.index[i]];
    m.sum[m.row[row]] += ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
  }
}

}  // namespace
}  // namespace onnxcomp::sparse_gemm
