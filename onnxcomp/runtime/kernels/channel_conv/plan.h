// How one convolution is cut up: tiles for registers, blocks of input channels for L1, strips of the map for L2.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/channel_conv/weight.h"
#include "kernels/sparse_conv/plan.h"
#include "kernels/sparse_conv/shape.h"

namespace onnxcomp::channel_conv {

using sparse_conv::ConvShape;
using sparse_conv::LaneChunk;
using sparse_conv::Split;

struct Plan {
  bool pixels;   // run pixel by pixel where they lie (PixelRun); what follows is for Run
  Split tile_y;  // the output map's rows and columns in tiles
  Split tile_x;
  Split strip_y;  // the tiles in strips: the input of one is in the scratch at a time
  Split strip_x;
  int64_t block;   // windows of 16 input channels in a block
  double cycles;   // predicted, for one image and all groups; sizes tasks
  int64_t pitch;   // bytes from one row of the scratch to the next
  int64_t window;  // vectors of a window in the scratch
  std::vector<int64_t> row;      // input row of each row of the scratch, relative to the strip's origin
  std::vector<LaneChunk> chunk;  // its columns
  std::vector<int32_t> offset;   // of entries in blocks, or of [block][taps][n] in windows: bytes from a block's first

  int64_t tiles() const { return tile_y.parts * tile_x.parts; }
  int64_t strips() const { return strip_y.parts * strip_x.parts; }
};

// What a row of 16 output channels costs at each pixel.
struct Work {
  double entries;  // on average
  double cycles;   // of an entry, beside what it takes to begin one
};
Work work_of(const Weight& weight);
// The same for a weight that is still to be packed: with so many blocks, or n of 16.
Work work_of_blocks(const WeightShape& shape, int64_t kept);
Work work_of_windows(const WeightShape& shape, int64_t kept);

// Cycles of the cheapest tiles, for one image and all groups.
double predict_cycles(const ConvShape& shape, const Work& work);

// The vectors of 16 pixels of a map that is run pixel by pixel, in parts that the kernel takes at once.
Split pixel_vectors(const ConvShape& shape);

// How many windows of input channels to pack into a block.
int64_t choose_block(const ConvShape& shape, const Work& work);

Plan make_plan(const ConvShape& shape, const Weight& weight);

}  // namespace onnxcomp::channel_conv
