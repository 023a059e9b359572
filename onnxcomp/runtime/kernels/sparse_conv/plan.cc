#include "kernels/sparse_conv/plan.h"

#include <algorithm>
#include <numeric>

#include "cpu.h"
#include "kernels/sparse_conv/axis.h"

namespace onnxcomp::sparse_conv {
namespace {

constexpr int64_t kLineBytes = 64;
// 14 vectors for each of the 2^16 taps that a block may have, so that a 1 x 14 tile is always within it.
constexpr int64_t kLargestScratch = int64_t{64} << 20;

// Cycles on a core with two FMA units and two vector loads a cycle: a least-squares fit to 840 plans of 13 layers,
// timed on Zen 5 with sixteen lanes. The plans it picks there take 7 % more than the best on average.
constexpr double kPerVectorProduct = 0.73;   // 0.5 for the FMA, the rest for loads that miss L1
constexpr double kPerNonzero = 0.87;         // weight, index and address
constexpr double kLeastPerNonzero = 2.0;     // however small the tile
constexpr double kPerRowVector = 2.6;        // partial sum in and out
constexpr double kPerRow = 19.0;             // a loop begun and ended
constexpr double kPerGatheredChunk = 25.0;   // up to 8 columns of all lanes transposed, once per row and input channel
constexpr double kPerScatteredChunk = 70.0;  // the same on the way out, per output channel
constexpr double kPerCopiedVector = 1.5;
// Not in the fit: a row of an input that does not stay in L2, for each row of the grid.
constexpr double kPerFarRow = 20.0;
constexpr double kOutsideL1 = 1.7;  // products whose scratch comes from L2

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// What the search compares. Costs are of the larger size of each split.
struct Candidate {
  int64_t grid_y;
  int64_t grid_x;
  bool minor_is_y;
  Split y;
  Split x;
  int64_t channel_vectors;
  double enter;  // cycles to bring one input channel of a tile into the scratch
  double leave;  // cycles to store one output channel of a tile
  int64_t block;
  double cycles;
};

int64_t l1_budget() { return machine().l1_bytes * 17 / 20; }  // the rest is for weights and sums passing through

int64_t choose_block(const WeightShape& weight, int64_t channel_bytes) {
  const int64_t fitting = std::clamp<int64_t>(l1_budget() / channel_bytes, 1, largest_block(weight));
  return divide_up(weight.channels, divide_up(weight.channels, fitting));
}

// Predicted cycles of all tiles of one image.
double predict(const Kernel& kernel, const ConvShape& shape, double nonzeros, const Candidate& c) {
  const WeightShape& w = shape.weight;
  const double tiles = static_cast<double>(c.y.parts) * c.x.parts;
  const double vectors = static_cast<double>(c.y.length) * c.x.length / tiles;  // of the average tile
  const double blocks = divide_up(w.channels, c.block);
  const bool in_l1 = c.block * c.channel_vectors * kernel.lanes * 4 <= l1_budget();
  const double product = std::max(vectors * kPerVectorProduct, kLeastPerNonzero) * (in_l1 ? 1.0 : kOutsideL1);
  const double rows = w.groups * w.outputs * blocks;
  return tiles * (nonzeros * (product + kPerNonzero) + rows * (vectors * kPerRowVector + kPerRow) +
                  w.groups * (w.channels * c.enter + w.outputs * c.leave));
}

// Cycles to transpose `rows` rows of the axis' chunks, where one of up to 8 columns of sixteen lanes takes `per_chunk`.
double transpose_cycles(const Kernel& kernel, int64_t rows, const Axis& axis, double per_chunk) {
  double chunks = 0;
  for (const LaneChunk& chunk : axis.chunks(kernel.chunk, 1)) chunks += chunk.width > 8 ? 2 : 1;
  return rows * chunks * per_chunk * kernel.lanes / 16;
}

// The identity: position p is element p.
Axis output_axis(int64_t positions) { return Axis({0, 0, 1, 1, 1, 0}, positions); }

MapLayout map_layout(const Kernel& kernel, const Axis& y, const Axis& x, bool minor_is_y) {
  MapLayout map;
  for (int64_t slot = 0; slot < y.slots(); ++slot) {
    map.row.push_back(y.input(slot));
    map.row_slot.push_back(slot * (minor_is_y ? 1 : x.slots()));
  }
  map.chunk = x.chunks(kernel.chunk, minor_is_y ? y.slots() : 1);
  return map;
}

TileLayout lane_tile(const Kernel& kernel, const ConvShape& shape, int64_t block, bool minor_is_y, int64_t rows,
                     int64_t columns) {
  const Axis y(shape.y, rows);
  const Axis x(shape.x, columns);
  const int64_t bytes = kernel.lanes * 4;
  const int64_t step_y = minor_is_y ? 1 : x.slots();
  const int64_t step_x = minor_is_y ? y.slots() : 1;
  TileLayout tile{};
  tile.major = minor_is_y ? columns : rows;
  tile.minor = minor_is_y ? rows : columns;
  tile.channel_vectors = y.slots() * x.slots();
  tile.pitch = (minor_is_y ? step_x : step_y) * bytes;
  for (int64_t channel = 0; channel < block; ++channel) {
    for (int64_t ky = 0; ky < shape.y.kernel; ++ky) {
      for (int64_t kx = 0; kx < shape.x.kernel; ++kx)
        tile.offset.push_back((channel * tile.channel_vectors + y.start(ky) * step_y + x.start(kx) * step_x) * bytes);
    }
  }
  tile.input = map_layout(kernel, y, x, minor_is_y);
  tile.output = map_layout(kernel, output_axis(rows), output_axis(columns), minor_is_y);
  return tile;
}

TileLayout pixel_tile(const Kernel& kernel, int64_t block, int64_t vectors) {
  TileLayout tile{};
  tile.major = 1;
  tile.minor = vectors;
  tile.channel_vectors = vectors;
  for (int64_t channel = 0; channel < block; ++channel) tile.offset.push_back(channel * vectors * kernel.lanes * 4);
  return tile;
}

// Vectors of successive channels, a plane apart, must not all want the same few sets of L1.
bool spread_over_cache(int64_t plane_bytes, int64_t vectors) {
  constexpr int64_t kSets = 64;
  return std::gcd(plane_bytes / kLineBytes, kSets) <= 2 * vectors;
}

Plan pixel_plan(const Kernel& kernel, const ConvShape& shape, int64_t nonzeros, std::optional<int64_t> block) {
  const int64_t vectors = divide_up(shape.output_plane(), kernel.lanes);
  const bool in_place = shape.input_plane() % kernel.lanes == 0;
  Candidate best{};
  for (int64_t largest = 1; largest <= std::min<int64_t>(kernel.accumulators, kMaxMinor); ++largest) {
    Candidate c{1, 1, false, {1, 1}, {vectors, divide_up(vectors, largest)}, 0, 0, 0, 0, 0};
    c.channel_vectors = c.x.size(0);
    c.enter = in_place ? 0 : c.channel_vectors * kPerCopiedVector;
    c.block = block.value_or(choose_block(shape.weight, c.channel_vectors * kernel.lanes * 4));
    c.cycles = predict(kernel, shape, nonzeros, c);
    if (best.block == 0 || c.cycles < best.cycles) best = c;
  }
  Plan plan{true, 1, 1, false, best.y, best.x, best.block, best.cycles, {}, {}};
  for (int smaller = 0; smaller < 2; ++smaller)
    plan.tile[0][smaller] = pixel_tile(kernel, plan.block, best.x.size(smaller ? best.x.parts - 1 : 0));
  const int64_t plane_bytes = shape.input_plane() * 4;
  if (in_place && spread_over_cache(plane_bytes, best.x.size(0))) {
    for (int64_t channel = 0; channel < plan.block; ++channel) plan.direct_offset.push_back(channel * plane_bytes);
  }
  return plan;
}

// Calls visit(grid_y, grid_x, minor_is_y, largest major, largest minor) for every way to cut a map.
template <class Visit>
void for_each_cut(const Kernel& kernel, Visit visit) {
  for (int64_t grid_y = 1; grid_y <= kernel.lanes; grid_y *= 2) {
    for (const bool minor_is_y : {false, true}) {
      for (int64_t major = 1; major <= kMaxMajor; ++major) {
        const int64_t minor = std::min<int64_t>(kernel.accumulators / major, kMaxMinor);
        visit(grid_y, kernel.lanes / grid_y, minor_is_y, major, minor);
      }
    }
  }
}

Plan lane_plan(const Kernel& kernel, const ConvShape& shape, int64_t nonzeros, std::optional<int64_t> block) {
  const bool far = shape.input_channels() * shape.input_plane() * 4 > machine().l2_bytes;
  Candidate best{};
  for_each_cut(kernel, [&](int64_t grid_y, int64_t grid_x, bool minor_is_y, int64_t major, int64_t minor) {
    const int64_t rows = divide_up(shape.y.output, grid_y);
    const int64_t columns = divide_up(shape.x.output, grid_x);
    Candidate c{grid_y, grid_x, minor_is_y, {}, {}, 0, 0, 0, 0, 0};
    c.y = {rows, divide_up(rows, minor_is_y ? minor : major)};
    c.x = {columns, divide_up(columns, minor_is_y ? major : minor)};
    const Axis y(shape.y, c.y.size(0));
    const Axis x(shape.x, c.x.size(0));
    c.channel_vectors = y.slots() * x.slots();
    c.enter = transpose_cycles(kernel, y.slots(), x, kPerGatheredChunk) + (far ? y.slots() * grid_y * kPerFarRow : 0);
    c.leave = transpose_cycles(kernel, c.y.size(0), output_axis(c.x.size(0)), kPerScatteredChunk);
    const int64_t channel_bytes = c.channel_vectors * kernel.lanes * 4;
    c.block = block.value_or(choose_block(shape.weight, channel_bytes));
    c.cycles = predict(kernel, shape, nonzeros, c);
    const bool affordable = c.block * channel_bytes <= kLargestScratch;
    if (best.block == 0 || (affordable && c.cycles < best.cycles)) best = c;
  });
  Plan plan{false, best.grid_y, best.grid_x, best.minor_is_y, best.y, best.x, best.block, best.cycles, {}, {}};
  for (int y = 0; y < 2; ++y) {
    for (int x = 0; x < 2; ++x)
      plan.tile[y][x] = lane_tile(kernel, shape, plan.block, plan.minor_is_y, best.y.size(y ? best.y.parts - 1 : 0),
                                  best.x.size(x ? best.x.parts - 1 : 0));
  }
  return plan;
}

}  // namespace

Plan make_plan(const Kernel& kernel, const ConvShape& shape, int64_t nonzeros, std::optional<int64_t> block) {
  return shape.pointwise() ? pixel_plan(kernel, shape, nonzeros, block) : lane_plan(kernel, shape, nonzeros, block);
}

}  // namespace onnxcomp::sparse_conv
