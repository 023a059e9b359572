// What one instruction set provides for Y[N] = W[N, K] X[K] where W's blocks of 4 x 4 have one magnitude each, and what
// the code around it may count on. packing/sign_panels.h lays W out.
//
// Only plain declarations may stand here: the files compiled for wide instruction sets include this header, and an
// inline function emitted there could be the copy the linker keeps for every CPU.
#pragma once

#include <cstdint>

namespace onnxcomp::sign_gemm {

constexpr int kCodes = 16;  // signed sums of four inputs

// table[q][code], for every quad q of four inputs, aligned to 64 bytes.
using TableFn = void (*)(int64_t quads, const float* x, float* table) noexcept;

// One panel of 4 L outputs:
//
//   sum[v][l] = sum over octets o and i < 8 of scale[8 o + i][l] * table[8 o + i][sign[o][v][l] >> 4 i & 15]
//
// All arrays are aligned to 4 L bytes but scales of float16 to 2 L.
struct Panel {
  int64_t octets;
  const uint32_t* sign;  // [octets][4][L]
  const void* scale;     // [8 octets][L], float32 or float16
  const float* table;    // [8 octets][16]
  float* sum;            // [4][L]
};
using PanelFn = void (*)(const Panel&) noexcept;

struct Kernel {
  const char* name;
  int lanes;  // L: 4, 8 or 16
  TableFn table;
  PanelFn multiply;
  PanelFn multiply_half;  // for scales of float16; null where the instruction set does not convert them
};

}  // namespace onnxcomp::sign_gemm
