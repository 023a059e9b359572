// Sparse convolution for any CPU: four lanes in GCC's portable vectors (SSE2 on x86-64, NEON on Arm).
#include <cstring>

#include "kernels/sparse_conv/list.h"
#include "kernels/sparse_conv/tile.inc.h"

namespace onnxcomp::sparse_conv {
namespace {

struct Portable {
  using Vector __attribute__((vector_size(16))) = float;
  static constexpr int kLanes = 4;
  static constexpr int kRegisters = 16;
  static constexpr int kAccumulators = 12;  // one register holds the weight, some the products
  static constexpr int kVectorsOf4 = 2;

  static Vector load(const void* from) {
    Vector v;
    std::memcpy(&v, from, sizeof v);
    return v;
  }
  static void store(float* to, Vector v) { std::memcpy(to, &v, sizeof v); }
  static void stream(float* to, Vector v) { store(to, v); }
  static Vector broadcast(const float* from) { return Vector{*from, *from, *from, *from}; }
  static void load_every(const float* from, int64_t stride, int64_t count, float* to) {
    for (int64_t i = 0; i < count; ++i) to[i] = from[i * stride];
  }
  static Vector load_four(const float* from) { return load(from); }
  template <int I>
  static Vector repeat(Vector four) {
    return Vector{four[I], four[I], four[I], four[I]};
  }
  static Vector fma(Vector a, Vector b, Vector c) { return a * b + c; }
  static Vector max(Vector a, Vector b) { return a > b ? a : b; }
  static Vector min(Vector a, Vector b) { return a < b ? a : b; }
};

// Calls visit(element of the map, element of the vectors, whether it lies inside the map).
template <class Visit>
inline void for_each_lane(const LaneMap& lanes, Visit visit) {
  constexpr int L = Portable::kLanes;
  for (int64_t row = 0; row < lanes.rows; ++row) {
    for (int64_t c = 0; c < lanes.chunks; ++c) {
      const LaneChunk& chunk = lanes.chunk[c];
      const uint16_t* mask = lanes.mask + (row * lanes.chunks + c) * L;
      for (int j = chunk.width - 1; j >= 0; --j) {
        const int64_t vector = (lanes.row_slot[row] + chunk.slot[j]) * L;
        for (int lane = 0; lane < L; ++lane)
          visit(lanes.offset[row * L + lane] + chunk.column + j, vector + lane, (mask[lane] >> j & 1) != 0);
      }
    }
  }
}

void gather(const LaneMap& lanes, const float* map, float* vectors) noexcept {
  for_each_lane(lanes, [=](int64_t from, int64_t to, bool inside) { vectors[to] = inside ? map[from] : 0.0f; });
}

void scatter(const LaneMap& lanes, const float* vectors, float* map) noexcept {
  for_each_lane(lanes, [=](int64_t to, int64_t from, bool inside) {
    if (inside) map[to] = vectors[from];
  });
}

void shift(const LaneShift& s, float* vectors) noexcept {
  constexpr int L = Portable::kLanes;
  for (int64_t channel = 0; channel < s.channels; ++channel, vectors += s.stride * L) {
    for (int64_t i = 0; i < s.moves; ++i) {
      for (int lane = 0; lane < L; ++lane) {
        const bool present = (s.neighbours->present >> lane & 1) != 0;
        vectors[s.move[i].to * L + lane] = present ? vectors[s.move[i].from * L + s.neighbours->lane[lane]] : 0.0f;
      }
    }
  }
}

}  // namespace

const Kernel portable_kernel = {
    "portable", Portable::kLanes, kMaxChunk, ONNXCOMP_TILES(Portable, 1), ONNXCOMP_TILES(Portable, 4),
    copy<Portable>, subsample<Portable>, gather, shift, scatter, finish<Portable>,
    sum<Portable>,
};

}  // namespace onnxcomp::sparse_conv
