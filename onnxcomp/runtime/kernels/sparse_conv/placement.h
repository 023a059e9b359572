// A tile at its place in the maps: how its vectors come from an input plane and go to an output plane.
//
// LanePlacement and PixelPlacement offer the same members, so that the loop over tiles is written once for both.
#pragma once

#include <cstdint>

#include "kernels/sparse_conv/contract.h"
#include "kernels/sparse_conv/plan.h"
#include "kernels/sparse_conv/workspace.h"

namespace onnxcomp::sparse_conv {

// Vectors of L successive pixels. A plane's last vector may be cut off: where a tile has several, it begins early, upon
// the one before, so that it ends with the plane.
class PixelPlacement {
 public:
  static size_t workspace_bytes(const Kernel&, const Plan&) { return 0; }
  PixelPlacement(const Kernel& kernel, const ConvShape& shape, const Plan& plan, Workspace&)
      : kernel_(kernel), shape_(shape), plan_(plan) {}

  void move_to(int64_t tile);
  const TileLayout& layout() const { return *layout_; }

  // The tile's input from `count` successive planes.
  void load_input(const float* planes, int64_t count, float* vectors) const;
  void load_output(const float* plane, float* vectors) const;
  void store_output(const float* vectors, float* plane) const;

  // The tile lies in the plane as it does in the scratch, `first()` floats from its start, but for the last vector's
  // `overlap()`.
  bool contiguous() const { return count_ >= kernel_.lanes; }
  int64_t first() const { return begin_; }
  int64_t overlap() const { return layout_->minor * kernel_.lanes - count_; }

 private:
  const Kernel& kernel_;
  const ConvShape& shape_;
  const Plan& plan_;
  const TileLayout* layout_ = nullptr;
  int64_t begin_ = 0;
  int64_t count_ = 0;
};

// Vectors of one position in each of L blocks of the map.
class LanePlacement {
 public:
  static size_t workspace_bytes(const Kernel& kernel, const Plan& plan);
  LanePlacement(const Kernel& kernel, const ConvShape& shape, const Plan& plan, Workspace& workspace);

  void move_to(int64_t tile);
  const TileLayout& layout() const { return *layout_; }

  void load_input(const float* planes, int64_t count, float* vectors) const;
  void load_output(const float* plane, float* vectors) const { kernel_.gather(output_, plane, vectors); }
  void store_output(const float* vectors, float* plane) const { kernel_.scatter(output_, vectors, plane); }

  bool contiguous() const { return false; }
  int64_t first() const { return 0; }
  int64_t overlap() const { return 0; }

 private:
  // The memory behind a LaneMap that depends on the tile's place.
  struct Placed {
    int64_t* offset;
    uint16_t* mask;
    bool* whole;
  };
  // Along one axis of a map: its size and where lanes begin in it. Lane (r, c) of the grid begins at r * step + origin.
  struct Extent {
    int64_t size;
    int64_t step;
    int64_t origin;
  };
  LaneMap place(const MapLayout& map, const Placed& memory, const Extent& y, const Extent& x) const;

  const Kernel& kernel_;
  const ConvShape& shape_;
  const Plan& plan_;
  const TileLayout* layout_ = nullptr;
  Placed input_memory_;
  Placed output_memory_;
  LaneMap input_{};
  LaneMap output_{};
};

}  // namespace onnxcomp::sparse_conv
