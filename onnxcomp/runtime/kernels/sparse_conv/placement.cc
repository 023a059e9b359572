#include "kernels/sparse_conv/placement.h"

#include <algorithm>
#include <cstring>

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
MapSize largest_output(const Plan& plan) {
  MapSize size;
  for (const auto& row : plan.tile) {
    for (const TileLayout& tile : row) size.cover(tile.output);
  }
  return size;
}

MapSize input_size(const Plan& plan) {
  MapSize size;
  size.cover(plan.input);
  return size;
}

}  // namespace

void PixelPlacement::move_to(int64_t tile) {
  layout_ = &plan_.layout(0, tile);
  begin_ = plan_.x.begin(tile) * kernel_.lanes;
  count_ = std::min(layout_->minor * kernel_.lanes, shape_.output_plane() - begin_);
}

void PixelPlacement::load_input(const float* planes, int64_t count, float* vectors) const {
  const int64_t plane = shape_.input_plane();
  if (shape_.pointwise()) return kernel_.copy({count, count_, plane}, planes + begin_, vectors);
  const int64_t width = shape_.x.output;
  const int64_t row = shape_.y.stride * shape_.x.input;
  const int64_t pitch = layout_->minor * kernel_.lanes;
  kernel_.subsample({count, plane, row, shape_.x.stride, width, begin_ % width, count_, pitch},
                    planes + begin_ / width * row, vectors);
}

void PixelPlacement::load_output(const float* plane, float* vectors) const {
  kernel_.copy({1, count_, 0}, plane + begin_, vectors);
}

void PixelPlacement::store_output(const float* vectors, float* plane) const {
  const auto copy = [&](int64_t to, int64_t from, int64_t count) {
    std::memcpy(plane + begin_ + to, vectors + from, static_cast<size_t>(count) * sizeof(float));
  };
  if (!contiguous()) return copy(0, 0, count_);
  const int64_t last = (layout_->minor - 1) * kernel_.lanes;
  copy(0, 0, last);
  copy(last - overlap(), last, kernel_.lanes);
}

size_t LanePlacement::workspace_bytes(const Kernel& kernel, const Plan& plan) {
  size_t bytes = 0;
  for (const MapSize& size : {input_size(plan), largest_output(plan)}) {
    bytes += Workspace::piece<int64_t>(size.rows * kernel.lanes) +
             Workspace::piece<uint16_t>(size.masks * kernel.lanes) + Workspace::piece<bool>(size.masks);
  }
  return bytes;
}

LanePlacement::LanePlacement(const Kernel& kernel, const ConvShape& shape, const Plan& plan, Workspace& workspace)
    : kernel_(kernel), shape_(shape), plan_(plan) {
  const auto take = [&](const MapSize& size) {
    int64_t* offset = workspace.take<int64_t>(size.rows * kernel.lanes);
    uint16_t* mask = workspace.take<uint16_t>(size.masks * kernel.lanes);
    return Placed{offset, mask, workspace.take<bool>(size.masks)};
  };
  input_memory_ = take(input_size(plan));
  output_memory_ = take(largest_output(plan));
}

void LanePlacement::load_input(const float* planes, int64_t count, float* vectors) const {
  for (int64_t plane = 0; plane < count; ++plane)
    kernel_.gather(input_, planes + plane * shape_.input_plane(),
                   vectors + plane * plan_.channel_vectors * kernel_.lanes);
  for (const Shift& shift : plan_.shifts) {
    const auto moves = static_cast<int64_t>(shift.moves.size());
    kernel_.shift({&shift.neighbours, shift.moves.data(), moves, count, plan_.channel_vectors}, vectors);
  }
}

void LanePlacement::move_to(int64_t tile) {
  const int64_t part_y = tile / plan_.x.parts;
  const int64_t part_x = tile % plan_.x.parts;
  layout_ = &plan_.layout(part_y, part_x);
  const int64_t row = plan_.y.begin(part_y);
  const int64_t column = plan_.x.begin(part_x);
  const AxisShape& y = shape_.y;
  const AxisShape& x = shape_.x;
  input_ = place(plan_.input, input_memory_, {y.input, plan_.y.length * y.stride, row * y.stride - y.pad},
                 {x.input, plan_.x.length * x.stride, column * x.stride - x.pad});
  output_ = place(layout_->output, output_memory_, {y.output, plan_.y.length, row}, {x.output, plan_.x.length, column});
}

LaneMap LanePlacement::place(const MapLayout& map, const Placed& memory, const Extent& y, const Extent& x) const {
  const auto rows = static_cast<int64_t>(map.row.size());
  const auto chunks = static_cast<int64_t>(map.chunk.size());
  std::fill_n(memory.whole, rows * chunks, true);
  for (int64_t row = 0; row < rows; ++row) {
    int64_t at_y = y.origin + map.row[row];
    int64_t at_x = x.origin;
    for (int64_t lane = 0; lane < kernel_.lanes; ++lane, at_x += x.step) {
      if (lane > 0 && (lane & (plan_.grid_x - 1)) == 0) {  // a new row of the grid
        at_y += y.step;
        at_x = x.origin;
      }
      const bool inside = at_y >= 0 && at_y < y.size;
      const int64_t offset = inside ? at_y * x.size + at_x : 0;
      memory.offset[row * kernel_.lanes + lane] = offset;
      for (int64_t c = 0; c < chunks; ++c) {
        const LaneChunk& chunk = map.chunk[c];
        const int64_t first = at_x + chunk.column;
        const uint16_t mask = inside ? bits(-first, std::min<int64_t>(chunk.width, x.size - first)) : uint16_t{0};
        memory.mask[(row * chunks + c) * kernel_.lanes + lane] = mask;
        const int64_t read = chunk.width > 8 ? 16 : chunk.width > 4 ? 8 : 4;
        if (mask != bits(0, chunk.width) || offset + chunk.column + read > y.size * x.size)
          memory.whole[row * chunks + c] = false;
      }
    }
  }
  LaneMap placed = {rows, chunks, map.chunk.data(), map.row_slot.data(), memory.offset, memory.mask, memory.whole, {}};
  for (int64_t bit = 0; 1 << bit < kernel_.lanes; ++bit) {
    const int64_t lane = 1 << bit;
    placed.step[bit] = lane < plan_.grid_x ? lane * x.step : lane / plan_.grid_x * y.step * x.size;
  }
  return placed;
}

}  // namespace onnxcomp::sparse_conv
