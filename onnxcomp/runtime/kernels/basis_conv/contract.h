// What one instruction set provides to convolve channels with several bases at once, and what the code around it may
// count on.
//
// Only plain declarations may stand here: the files compiled for wide instruction sets include this header, and an
// inline function emitted there could be the copy the linker keeps for every CPU.
#pragma once

#include <cstdint>

namespace onnxcomp::basis_conv {

// For every channel c, basis b and vector v of L successive pixels, lane l:
//
//   maps[c][b][v][l] = sum over taps t of base[t][b] * x,
//   x = input[c * stride + offset[t] + p(v) + l] where bit l of mask[v][t] is set, otherwise 0
//
// Vector v begins at pixel p(v) = v * L, the last one `overlap` pixels earlier: where several vectors end a plane, it
// ends with the plane.
//
// What is masked is not read. `maps` is aligned to 4L bytes; the input may have any alignment.
struct Combine {
  int64_t channels;
  int64_t stride;  // floats from one channel of the input to the next
  int64_t vectors;
  int64_t overlap;
  int64_t bases;
  int64_t taps;
  const float* base;      // [taps][bases]
  const int64_t* offset;  // [taps] floats
  const uint16_t* mask;   // [vectors][taps], or null where all is wanted
};
using CombineFn = void (*)(const Combine&, const float* input, float* maps) noexcept;

struct Kernel {
  const char* name;
  int lanes;  // L, as the sparse_conv kernel's of the same instruction set
  CombineFn combine;
};

}  // namespace onnxcomp::basis_conv
