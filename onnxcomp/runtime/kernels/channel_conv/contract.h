// What an instruction set provides for sparse convolution with output channels as the lanes of a vector.
//
// A *tile* is A x B output pixels of 16 output channels, a vector each: A rows of B pixels, A, B >= 1. Its input lies
// in a scratch of windows: 16 input channels of one pixel are 16 successive floats, on a cache line of their own. So
// strides and paddings cost nothing here, and tiles need no whole vectors of pixels: small maps are as good as large.
//
// Only plain declarations may stand here: the files compiled for wide instruction sets include this header, and an
// inline function emitted there could be the copy the linker keeps for every CPU.
#pragma once

#include <cstdint>

#include "kernels/sparse_conv/contract.h"

namespace onnxcomp::channel_conv {

constexpr int kMaxMajor = 4;
constexpr int kMaxMinor = 14;
constexpr int kAccumulators = 28;  // A * B is at most this

// What the sums of a tile begin with, where they go and what is done to them on the way.
//
//   result[a][b][o] = clamp(start[a][b][o] + products of the weight and input + a * pitch + b * 64 bytes)
struct Sums {
  const char* input;   // scratch of the tile's first pixel under the first tap, aligned to 64 bytes
  int64_t pitch;       // bytes from one row of pixels to the next
  const float* start;  // [A][B][16], or null: bias
  const float* bias;   // [16]
  float* result;       // [A][B][16], aligned to 64 bytes; may be `start`
  bool clamp;          // into low..high; NaN stays NaN
  float low;
  float high;
};

// Offsets and places are loaded ahead of their use: so many more must be readable past the last.
constexpr int kSpareOffsets = 2;
constexpr int kSparePlaces = 16;

// Entries of one row of a weight in blocks: value[i][o] times the float at offset[i] bytes from the pixel's.
struct Blocks {
  int64_t count;
  const int32_t* offset;  // [count + kSpareOffsets]
  const float* value;     // [count][16], aligned to 64 bytes
};
using BlocksFn = void (*)(const Blocks&, const Sums&) noexcept;

// Entries of one row of a weight that keeps n of 16: value[i][o] times float place[i][o] of the 16 at offset[i] bytes
// from the pixel's.
struct Windows {
  int64_t count;
  const int32_t* offset;  // [count + kSpareOffsets], multiples of 64
  const float* value;     // [count][16], aligned to 64 bytes
  const uint8_t* place;   // [count][16] and kSparePlaces more, aligned to 16 bytes
};
using WindowsFn = void (*)(const Windows&, const Sums&) noexcept;

// A 1x1 convolution of stride 1 needs no scratch: up to three vectors of 16 successive pixels of each of 16 output
// channels, where they lie. Pixels are the lanes here, and the values of an entry serve all vectors of sums.
//
//   y[o * y_stride + pixel] = clamp(bias[o] + sum over i of value[i][o] * x[channel[i] * x_stride + pixel])
constexpr int kPixelVectors = 3;
struct Pixels {
  int64_t vectors;  // 1 to kPixelVectors
  uint16_t mask;    // which pixels of the last vector there are
  int64_t count;
  const uint32_t* channel;  // [count + 1]
  const float* value;       // [count][16], aligned to 64 bytes
  const float* bias;        // [16]
  const float* x;
  int64_t x_stride;  // floats
  float* y;
  int64_t y_stride;  // floats
  bool clamp;        // into low..high; NaN stays NaN
  float low;
  float high;
};
using PixelsFn = void (*)(const Pixels&) noexcept;

// Pixels of a map of planes, one plane an input or output channel: `channels` of them, 1 to 16, `stride` floats apart.
struct Planes {
  int64_t stride;
  int32_t channels;
};
// planes -> vectors: up to 16 columns of one row, `from` being column 0 in the first plane. Columns that `mask` does
// not have, and channels that there are not, are zero. The chunk says where each column goes.
using GatherFn = void (*)(const Planes&, const sparse_conv::LaneChunk&, uint16_t mask, const float* from,
                          float* vectors) noexcept;
// vectors -> planes: `count` successive pixels, 1 to 16.
using ScatterFn = void (*)(const Planes&, int32_t count, const float* vectors, float* to) noexcept;

struct Kernel {
  const char* name;
  BlocksFn blocks[kMaxMajor][kMaxMinor];    // [A - 1][B - 1], null where A * B is more than kAccumulators
  WindowsFn windows[kMaxMajor][kMaxMinor];  // the same
  PixelsFn pixels;
  GatherFn gather;
  ScatterFn scatter;
};

}  // namespace onnxcomp::channel_conv
