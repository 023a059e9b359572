#include "kernels/sparse_conv/placement.h"

#include <algorithm>

namespace onnxcomp::sparse_conv {
namespace {

// Bits [from, to) of a mask, clamped to it.
uint16_t bits(int64_t from, int64_t to) {
  from = std::clamp<int64_t>(from, 0, kMaxChunk);
  to = std::clamp<int64_t>(to, from, kMaxChunk);
  return static_cast<uint16_t>((1u << to) - (1u << from));
}

struct MapSize {
  int64_t rows = 0;
  int64_t masks = 0;

  void cover(const MapLayout& map) {
    const auto map_rows = static_cast<int64_t>(map.row.size());
    rows = std::max(rows, map_rows);
    masks = std::max(masks, map_rows * static_cast<int64_t>(map.chunk.size()));
  }
};

// The largest of the plan's tiles.
MapSize largest(const Plan& plan, MapLayout TileLayout::* map) {
  MapSize size;
  for (const auto& row : plan.tile) {
    for (const TileLayout& tile : row) size.cover(tile.*map);
  }
  return size;
}

}  // namespace

void PixelPlacement::move_to(int64_t tile) {
  layout_ = &plan_.layout(0, tile);
  begin_ = plan_.x.begin(tile) * lanes_;
  count_ = std::min(layout_->minor * lanes_, plane_ - begin_);
}

void PixelPlacement::load(const float* plane, float* vectors) const {
  std::memcpy(vectors, plane + begin_, static_cast<size_t>(count_) * sizeof(float));
  std::fill(vectors + count_, vectors + layout_->minor * lanes_, 0.0f);
}

size_t LanePlacement::workspace_bytes(const Kernel& kernel, const Plan& plan) {
  size_t bytes = 0;
  for (const auto map : {&TileLayout::input, &TileLayout::output}) {
    const MapSize size = largest(plan, map);
    bytes +=
        Workspace::piece<int64_t>(size.rows * kernel.lanes) + Workspace::piece<uint16_t>(size.masks * kernel.lanes);
  }
  return bytes;
}

LanePlacement::LanePlacement(const Kernel& kernel, const ConvShape& shape, const Plan& plan, Workspace& workspace)
    : kernel_(kernel), shape_(shape), plan_(plan) {
  const auto take = [&](MapLayout TileLayout::* map) {
    const MapSize size = largest(plan, map);
    int64_t* offset = workspace.take<int64_t>(size.rows * kernel.lanes);
    return Placed{offset, workspace.take<uint16_t>(size.masks * kernel.lanes)};
  };
  input_memory_ = take(&TileLayout::input);
  output_memory_ = take(&TileLayout::output);
}

void LanePlacement::move_to(int64_t tile) {
  const int64_t part_y = tile / plan_.x.parts;
  const int64_t part_x = tile % plan_.x.parts;
  layout_ = &plan_.layout(part_y, part_x);
  const int64_t row = plan_.y.begin(part_y);
  const int64_t column = plan_.x.begin(part_x);
  const AxisShape& y = shape_.y;
  const AxisShape& x = shape_.x;
  input_ = place(layout_->input, input_memory_, {y.input, plan_.y.length * y.stride, row * y.stride - y.pad},
                 {x.input, plan_.x.length * x.stride, column * x.stride - x.pad});
  output_ = place(layout_->output, output_memory_, {y.output, plan_.y.length, row}, {x.output, plan_.x.length, column});
}

LaneMap LanePlacement::place(const MapLayout& map, const Placed& memory, const Extent& y, const Extent& x) const {
  const auto rows = static_cast<int64_t>(map.row.size());
  const auto chunks = static_cast<int64_t>(map.chunk.size());
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t lane = 0; lane < kernel_.lanes; ++lane) {
      const int64_t at_y = lane / plan_.grid_x * y.step + y.origin + map.row[row];
      const int64_t at_x = lane % plan_.grid_x * x.step + x.origin;
      const bool inside = at_y >= 0 && at_y < y.size;
      memory.offset[row * kernel_.lanes + lane] = inside ? at_y * x.size + at_x : 0;
      for (int64_t c = 0; c < chunks; ++c) {
        const LaneChunk& chunk = map.chunk[c];
        const int64_t first = at_x + chunk.column;
        memory.mask[(row * chunks + c) * kernel_.lanes + lane] =
            inside ? bits(-first, std::min<int64_t>(chunk.width, x.size - first)) : uint16_t{0};
      }
    }
  }
  return {rows, chunks, map.chunk.data(), map.row_slot.data(), memory.offset, memory.mask};
}

}  // namespace onnxcomp::sparse_conv
