// How one convolution is cut up: what the lanes are, which tiles, how tiles lie in the scratch.
//
// A k > 1 (or strided, or padded) convolution works on *lanes*: the output map is cut into a grid of L blocks, lane l
// of a vector belongs to block l, and successive vectors are successive positions within a block, so that every shift
// of the kernel and every stride is a whole aligned vector. A 1x1 convolution of stride 1 needs none of that: L
// successive *pixels* are the vector.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/sparse_conv/contract.h"
#include "kernels/sparse_conv/shape.h"

namespace onnxcomp::sparse_conv {

// `length` positions in `parts` pieces whose sizes differ by one at most, larger ones first.
struct Split {
  int64_t length;
  int64_t parts;

  int64_t larger() const { return length % parts; }  // how many pieces have one more
  int64_t size(int64_t part) const { return length / parts + (part < larger()); }
  int64_t begin(int64_t part) const { return part * (length / parts) + (part < larger() ? part : larger()); }
};

// The rows and columns of a map that a tile touches, relative to a lane's origin, with their places in the scratch.
struct MapLayout {
  std::vector<int64_t> row;
  std::vector<int64_t> row_slot;
  std::vector<LaneChunk> chunk;
};

// Vectors of the scratch that come from others: what a lane reads outside of its block, its neighbour reads inside.
struct Shift {
  Neighbours neighbours;
  std::vector<VectorMove> moves;
};

// A tile of one size. Tiles of a plan come in up to four: a split's pieces have two sizes along each axis.
struct TileLayout {
  int64_t major;
  int64_t minor;
  int64_t at_once;   // along the major axis, while sums are in registers
  MapLayout output;  // lanes only

  int64_t vectors() const { return major * minor; }
};

struct Plan {
  bool pixels;
  int64_t grid_y;  // lanes only: blocks down and across, grid_y * grid_x == L
  int64_t grid_x;
  bool minor_is_y;
  Split y;                   // of a block's rows; with pixels, one row
  Split x;                   // of a block's columns; with pixels, of the map's vectors
  int64_t block;             // input channels in a block
  double cycles;             // predicted, for one image and all groups; ranks plans and sizes tasks
  TileLayout tile[2][2];     // [row split's smaller size][column split's smaller size]
  int64_t channel_vectors;   // one input channel takes in the scratch, whatever the tile's size
  int64_t pitch;             // bytes, as in Multiply
  MapLayout input;           // lanes only, of the largest tile: smaller ones use a part of it
  std::vector<Shift> shifts; // lanes only: what completes the input, in this order
  bool in_place;             // pixels only: reading aligned maps where they lie pays
  // Of the weight's entries and kReadAhead more: with lanes a vector of the scratch, else a channel.
  std::vector<uint16_t> index;

  int64_t tiles() const { return y.parts * x.parts; }
  const TileLayout& layout(int64_t part_y, int64_t part_x) const {
    return tile[part_y >= y.larger() && y.larger() > 0][part_x >= x.larger() && x.larger() > 0];
  }
};

// For rows of `height` output channels.
const Tiles& tiles_for(const Kernel& kernel, int64_t height);

// How many input channels to pack to a block, for a weight with these entries.
int64_t choose_block(const Kernel& kernel, const ConvShape& shape, const Entries& entries);

// Cycles of the cheapest plan for such a weight, for one image and all groups.
double predict_cycles(const Kernel& kernel, const ConvShape& shape, const Entries& entries);

// The cheapest plan for a packed weight.
Plan make_plan(const Kernel& kernel, const ConvShape& shape, const BlockedCsr& weight);

}  // namespace onnxcomp::sparse_conv
