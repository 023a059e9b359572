// What one instruction set provides for Y[M, N] = X[M, K] * W[N, K]^T with a sparse W, and what the code around it may
// count on.
//
// Only plain declarations may stand here: the files compiled for wide instruction sets include this header, and an
// inline function emitted there could be the copy the linker keeps for every CPU.
#pragma once

#include <cstdint>

namespace onnxcomp::sparse_gemm {

constexpr int kPanel = 16;  // the most columns of a panel: of 512 columns of W they are 32 KB and stay in L1
constexpr int kMaxInputs = 4;

// For every row r of a block of columns and each of W columns of the other factor, with W = V * L <= kPanel for
// `panel[V - 1]` and W = 1 for `dot`:
//
//   sum[row[r]][w] += sum over i in [row_begin[r], row_begin[r + 1]) of value[i] * input[index[i]][w]
struct Rows {
  int64_t rows;
  const uint32_t* row_begin;  // [rows + 1]
  const uint32_t* row;        // [rows]
  const uint16_t* index;
  const float* value;
  const float* input;  // [columns of the block][W], aligned to 4L bytes
  float* sum;          // [...][W], aligned to 4L bytes
};
using RowsFn = void (*)(const Rows&) noexcept;

// The steps of one group of LaneWindows (packing/lane_windows.h) for I rows of X, I - 1 the place in `windows`:
//
//   sum[i][l] += value * x[i][16 * window[s] + offset]   for each step s and each lane l in mask[s]
//
// where value and offset are the next of their arrays. 16 elements past their last are read.
struct Windows {
  int64_t steps;
  const uint16_t* mask;
  const uint16_t* window;
  const uint8_t* offset;
  const float* value;
  const float* x;  // [I] rows of LaneWindows::padded(K) floats, aligned to 64 bytes
  int64_t x_stride;
  float* sum;  // [I][16], aligned to 64 bytes
};
using WindowsFn = void (*)(const Windows&) noexcept;

struct Kernel {
  const char* name;
  int lanes;  // L: 4, 8 or 16
  RowsFn dot;
  RowsFn panel[4];                // null where V * L > kPanel
  WindowsFn windows[kMaxInputs];  // null where the instruction set has no permutation of two vectors
};

}  // namespace onnxcomp::sparse_gemm
