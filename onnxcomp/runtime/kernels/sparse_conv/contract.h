// What one instruction set provides for sparse convolution, and what the code around it may count on.
//
// A *tile* is A x B vectors of output positions of one output channel, A, B >= 1: A along the tile's major axis, B
// along its minor axis, contiguous in the scratch. What the lanes of a vector stand for is decided by the tile's
// placement (placement.h); to `multiply` they are L independent convolutions.
//
// A *row* of the weight stands for G successive output channels, 1 or 4, that share their nonzeros' places: each entry
// has G values, and its input is loaded once for all of them.
//
// Only plain declarations may stand here: the files compiled for wide instruction sets include this header, and an
// inline function emitted there could be the copy the linker keeps for every CPU.
#pragma once

#include <cstdint>

namespace onnxcomp::sparse_conv {

constexpr int kMaxMajor = 4;
constexpr int kMaxMinor = 14;
constexpr int kReadAhead = 4;

// For every row r, with o = output[r] and p = place[r], output channel g = 0 .. G - 1 of it, and position (a, b) of a
// tile:
//
//   result[p][g][a][b] =
//       clamp(start[o][g][a][b] + sum over i of value[i][g] * input[index[i] * unit + a * pitch + b * 4L]
//             + residual[p][g][a][b])
//
// i runs from row_begin[r] to row_begin[r + 1]. `start` is null where the sum starts with bias[o][g]. The input may
// have any alignment; aligned to 4L bytes, a load takes half the time.
struct Multiply {
  int64_t rows;
  const uint32_t* row_begin;  // [rows + 1]
  const uint32_t* output;     // [rows]
  const uint32_t* place;      // [rows]
  const uint16_t* index;  // of each entry: where its input begins, in `unit`s; kReadAhead more are read, not used
  const float* value;     // [entries][G]
  const char* input;
  int64_t unit;        // bytes
  int64_t pitch;       // bytes from one position along the major axis to the next
  const float* bias;   // [outputs][G]
  const float* start;  // [outputs][G][A][B][L], or null; may be `result` where `place` is `output`
  int64_t start_stride;  // floats from one output channel to the next
  float* result;         // [places][G][A][B][L]
  int64_t result_stride;
  const float* residual;  // as result, and may be it; or null
  bool clamp;  // into low..high; NaN stays NaN
  float low;
  float high;
  // Of `pixels` only:
  const float* ahead;    // what is wanted next: A * B vectors of each of some channels, to be brought into L1's reach
  int64_t ahead_stride;  // floats from one of those channels to the next
  int64_t ahead_channels;
  int64_t overlap;  // floats that the last vector of `result` and `residual` begins early, upon the one before: B > 1
  bool stream;      // `result` is aligned to 4L bytes, and goes past the caches
};
using MultiplyFn = void (*)(const Multiply&) noexcept;

// Every tile there is for one G.
struct Tiles {
  int most_vectors;                           // a * b
  MultiplyFn multiply[kMaxMajor][kMaxMinor];  // [a - 1][b - 1]; null where a * b is more
  MultiplyFn pixels[kMaxMinor];               // the same with a = 1, for tiles of successive pixels
};

constexpr int kMaxChunk = 16;

// How the L lanes of a tile lie in a map of floats in memory. Lane l has an origin of its own; relative to it all lanes
// touch the same rows and columns. Columns come in chunks of neighbours. What lies outside the map is masked.
constexpr int kMaxLaneBits = 4;
struct LaneChunk {
  int64_t column;           // of its first element, relative to the lane's origin
  int32_t width;            // 1 to the kernel's `chunk`; the first and the last column are wanted
  int32_t slot[kMaxChunk];  // vector index of each column within the row's vectors; of a column that is not wanted, its
                            // left neighbour's: written from right to left, the wanted one stays
};
struct LaneMap {
  int64_t rows;
  int64_t chunks;
  const LaneChunk* chunk;   // [chunks]
  const int64_t* row_slot;  // [rows] vector index of the row's first vector
  const int64_t* offset;    // [rows][L] floats from the map's first element to column 0 of this row in lane l
  const uint16_t* mask;     // [rows][chunks][L] bit j: column j of the chunk lies inside the map; outputs': no gaps
  // [rows][chunks] every lane's columns lie inside the map, and so many floats can be read there as make a vector of 4,
  // 8 or 16 that holds the chunk. Lanes then lie `step`s apart.
  const bool* whole;
  int64_t step[kMaxLaneBits];  // floats, of each bit of a lane's number
};
// map -> vectors; zero where masked. `vectors` is aligned to 4L bytes.
using GatherFn = void (*)(const LaneMap&, const float* map, float* vectors) noexcept;
// vectors -> map; masked elements are not written. Every column of the map's chunks is wanted.
using ScatterFn = void (*)(const LaneMap&, const float* vectors, float* map) noexcept;

// Each lane's neighbour in one direction of the grid.
constexpr int kMaxLanes = 16;
struct Neighbours {
  alignas(64) uint32_t lane[kMaxLanes];  // [L]
  uint16_t present;                      // bit l: lane l has one
};
struct VectorMove {
  int32_t from;
  int32_t to;
};
struct LaneShift {
  const Neighbours* neighbours;
  const VectorMove* move;
  int64_t moves;
  int64_t channels;  // to do the same in
  int64_t stride;    // vectors from one channel to the next
};
// vectors[to][l] = vectors[from][neighbour of l], zero where l has none; for one move after the other.
using ShiftFn = void (*)(const LaneShift&, float* vectors) noexcept;

// Rows of `count` floats, `stride` floats apart, into rows of whole vectors one after the other. What does not fill a
// vector comes with as many floats before it as do, and with zeros where `count` is less than L.
struct Copy {
  int64_t rows;
  int64_t count;
  int64_t stride;
};
using CopyFn = void (*)(const Copy&, const float* from, float* vectors) noexcept;

enum class Activation { none, relu, clip, leaky_relu, sigmoid, hard_swish, silu };

// The pixels of a strided 1x1 convolution: `count` of them, row by row, from the one in `column` of the row at `from`.
struct Subsample {
  int64_t planes;
  int64_t plane;   // floats from one plane to the next
  int64_t row;     // floats from one row wanted to the next
  int64_t stride;  // floats from one pixel wanted to the next
  int64_t width;   // pixels wanted of a row
  int64_t column;
  int64_t count;
  int64_t pitch;  // floats from one plane's vectors to the next. What follows the last pixel, up to a vector's length,
                  // is overwritten; a last vector that is not full is as Copy's
};
using SubsampleFn = void (*)(const Subsample&, const float* from, float* vectors) noexcept;

// The last stage: y = activation(y + residual) for `count` floats, a multiple of L, aligned to 4L bytes. `residual` may
// be null. `low` and `high` are Relu's and Clip's bounds.
struct Finish {
  Activation activation;
  float low;
  float high;
  float alpha;  // LeakyRelu's slope
};
using FinishFn = void (*)(const Finish&, const float* residual, float* y, int64_t count) noexcept;

// Sums of four channels under every pattern of signs: sum p is x[0] + s1 x[1] + s2 x[2] + s3 x[3], where s of i + 1 is
// -1 where bit i of p is set and 1 where it is not. `channels` holds the four, [4][floats], and then the eight sums in
// their place, [8][floats]. It is aligned to 4L bytes, and `floats` a multiple of L.
using SumFn = void (*)(int64_t floats, float* channels) noexcept;

struct Kernel {
  const char* name;
  int lanes;  // L: 4, 8 or 16
  int chunk;  // the most columns a LaneChunk may have
  Tiles tiles;
  Tiles tiles_of_4;  // G = 4
  CopyFn copy;
  SubsampleFn subsample;
  GatherFn gather;
  ShiftFn shift;
  ScatterFn scatter;
  FinishFn finish;
  SumFn sum;
};

}  // namespace onnxcomp::sparse_conv
