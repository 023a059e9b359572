#include "kernels/sparse_conv/plan.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>

#include "cpu.h"
#include "kernels/sparse_conv/axis.h"
#include "packing/sign_sums.h"

namespace onnxcomp::sparse_conv {
namespace {

constexpr int64_t kLineBytes = 64;
// Vectors, for 16-bit indices. A tile of one vector is always within it: it takes one for each tap of a block.
constexpr int64_t kLargestScratch = int64_t{1} << 16;

// Cycles on a core with two FMA units and two vector loads a cycle: a least-squares fit to 8,000 runs of 18 layers with
// 90 and 95 % zeros, timed on Zen 5 with sixteen lanes. The plans it picks take 5 % more than the best on average.
constexpr double kPerVectorProduct = 0.54;   // 0.5 for the FMA
constexpr double kPerEntry = 0.55;           // weights and address
constexpr double kPerRowVector = 2.1;        // partial sum in and out
constexpr double kPerRow = 6.5;              // a loop begun and ended
constexpr double kPerGatheredChunk = 6.4;    // up to 8 columns of all lanes, once per row and input channel
constexpr double kPerGatheredVector = 3.8;   // of the scratch
constexpr double kPerFarRow = 20.0;          // not in the fit: a row of an input outside L2, times the grid's
constexpr double kPerShiftedVector = 3.0;
constexpr double kPerScatteredChunk = 32.0;  // as gathered, per output channel
constexpr double kPerCopiedVector = 4.3;
constexpr double kPerSubsampledVector = 8.0;
constexpr double kPerSummedVector = 1.5;     // not in the fit
// More for each product that has its load to itself, times the share of L1 that the scratch takes beyond kComfortable:
// others use L1 as well. Where four share a load, it is done by the time they are.
constexpr double kPerProductOutsideL1 = 0.41;
constexpr double kComfortable = 0.8;

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

  const Split& major() const { return minor_is_y ? x : y; }
  const Split& minor() const { return minor_is_y ? y : x; }
};

int64_t l1_budget() { return machine().l1_bytes * 17 / 20; }  // the rest is for weights and sums passing through

// Sums come as many at a time as are formed together.
int64_t fitting_block(const WeightShape& weight, bool sums, int64_t channel_bytes) {
  const int64_t together = sums ? kSums : 1;
  const int64_t all = divide_up(weight.channels, together);
  const int64_t fitting =
      std::clamp<int64_t>(l1_budget() / channel_bytes / together, 1, largest_block(weight) / together);
  return divide_up(all, divide_up(all, fitting)) * together;
}

// Cycles to bring a channel of the weight into the scratch, where one of the input takes `own`.
double entering(const Entries& entries, double own, int64_t channel_vectors) {
  return entries.sums ? own * kQuad / kSums + channel_vectors * kPerSummedVector : own;
}

// How many positions along the major axis of a tile registers have room for.
int64_t at_once(const Kernel& kernel, int64_t height, int64_t major, int64_t minor) {
  return std::min({major, int64_t{kMaxMajor}, tiles_for(kernel, height).most_vectors / minor});
}

// Predicted cycles of all tiles of one image.
double predict(const Kernel& kernel, const ConvShape& shape, const Entries& entries, const Candidate& c) {
  const WeightShape& w = shape.weight;
  const double tiles = static_cast<double>(c.y.parts) * c.x.parts;
  const double vectors = static_cast<double>(c.y.length) * c.x.length / tiles;  // of the average tile
  const double blocks = divide_up(w.channels, c.block);
  const double scratch = static_cast<double>(c.block) * c.channel_vectors * kernel.lanes * 4;
  const double outside_l1 = std::clamp(scratch / machine().l1_bytes - kComfortable, 0.0, 1.0);
  const double load = entries.height == 1 ? outside_l1 * kPerProductOutsideL1 : 0;
  const double product = vectors * (entries.height * kPerVectorProduct + load);
  const double outputs = w.groups * w.outputs * blocks;
  const int64_t major = c.major().size(0);
  const double passes = divide_up(major, at_once(kernel, entries.height, major, c.minor().size(0)));
  return tiles * (entries.count * (product + passes * kPerEntry) +
                  outputs * (vectors * kPerRowVector + passes * kPerRow / entries.height) +
                  w.groups * (w.channels * c.enter + w.outputs * c.leave));
}

// Pieces of up to 8 columns of sixteen lanes, in `rows` rows.
double pieces(const Kernel& kernel, int64_t rows, const Axis& axis) {
  double of_a_row = 0;
  for (const LaneChunk& chunk : axis.chunks(kernel.chunk, 1)) of_a_row += chunk.width > 8 ? 2 : 1;
  return rows * of_a_row * kernel.lanes / 16;
}

// The identity: position p is element p.
Axis output_axis(int64_t positions) { return Axis({0, 0, 1, 1, 1, 0}, positions); }

MapLayout map_layout(const Kernel& kernel, const Axis& y, const Axis& x, bool minor_is_y) {
  MapLayout map;
  for (const int64_t slot : y.own()) {
    map.row.push_back(y.input(slot));
    map.row_slot.push_back(slot * (minor_is_y ? 1 : x.slots()));
  }
  map.chunk = x.chunks(kernel.chunk, minor_is_y ? y.slots() : 1);
  return map;
}

struct Axes {
  Axis y;
  Axis x;
};

// Of the largest tile's input.
Axes input_axes(const ConvShape& shape, int64_t grid_y, int64_t grid_x, const Split& y, const Split& x) {
  Axes axes = {Axis(shape.y, y.size(0)), Axis(shape.x, x.size(0))};
  if (y.parts == 1) axes.y.borrow(shape.y, grid_y);
  if (x.parts == 1) axes.x.borrow(shape.x, grid_x);
  return axes;
}

// Moves for the loans of an axis, one for each of the slots that `others` has on the other axis.
void add_shifts(std::vector<Shift>& shifts, const Axis& axis, int64_t step, const std::vector<int64_t>& others,
                int64_t other_step, const std::function<Neighbours(int64_t step)>& neighbours) {
  for (const int64_t direction : {-1, 1}) {
    Shift shift = {neighbours(direction), {}};
    for (const Axis::Loan& loan : axis.loans()) {
      if (loan.step != direction) continue;
      for (const int64_t other : others) {
        shift.moves.push_back({static_cast<int32_t>(loan.from * step + other * other_step),
                               static_cast<int32_t>(loan.slot * step + other * other_step)});
      }
    }
    if (!shift.moves.empty()) shifts.push_back(std::move(shift));
  }
}

// Each lane's neighbour `down` rows and `right` columns further in the grid.
Neighbours neighbours(int64_t grid_y, int64_t grid_x, int64_t down, int64_t right) {
  Neighbours found{};
  for (int64_t lane = 0; lane < grid_y * grid_x; ++lane) {
    const int64_t row = lane / grid_x + down;
    const int64_t column = lane % grid_x + right;
    if (row < 0 || row >= grid_y || column < 0 || column >= grid_x) continue;
    found.lane[lane] = static_cast<uint32_t>(row * grid_x + column);
    found.present |= static_cast<uint16_t>(1u << lane);
  }
  return found;
}

// Where in the scratch of a channel each tap finds the tile's first position.
std::vector<int64_t> tap_slots(const ConvShape& shape, const Axis& y, int64_t step_y, const Axis& x, int64_t step_x) {
  std::vector<int64_t> slots;
  for (int64_t ky = 0; ky < shape.y.kernel; ++ky) {
    for (int64_t kx = 0; kx < shape.x.kernel; ++kx) slots.push_back(y.start(ky) * step_y + x.start(kx) * step_x);
  }
  return slots;
}

// `tap_slots` say where in the `channel_units` of a channel in the scratch each tap begins.
std::vector<uint16_t> locate_inputs(const BlockedCsr& weight, int64_t channel_units,
                                    const std::vector<int64_t>& tap_slots) {
  std::vector<uint16_t> place;
  for (int64_t channel = 0; channel < weight.block; ++channel) {
    for (const int64_t slot : tap_slots) place.push_back(static_cast<uint16_t>(channel * channel_units + slot));
  }
  std::vector<uint16_t> located(weight.index.size() + kReadAhead);
  std::transform(weight.index.begin(), weight.index.end(), located.begin(),
                 [&](uint16_t index) { return place[index]; });
  return located;
}

// Pixels may be read where they lie: whole vectors, and those of successive channels, a plane apart, do not all want
// the same few sets of L1.
bool may_stay_in_place(const Kernel& kernel, const ConvShape& shape, int64_t vectors) {
  constexpr int64_t kSets = 64;
  const int64_t plane = shape.input_plane();
  return shape.pointwise() && plane % kernel.lanes == 0 && std::gcd(plane * 4 / kLineBytes, kSets) <= 2 * vectors;
}

// Vectors along a tile's minor axis.
int64_t most_minor(const Kernel& kernel, const Entries& entries) {
  return std::min(tiles_for(kernel, entries.height).most_vectors, kMaxMinor);
}

Candidate best_pixels(const Kernel& kernel, const ConvShape& shape, const Entries& entries,
                      std::optional<int64_t> block) {
  const int64_t vectors = divide_up(shape.output_plane(), kernel.lanes);
  Candidate best{};
  for (int64_t largest = 1; largest <= most_minor(kernel, entries); ++largest) {
    Candidate c{1, 1, false, {1, 1}, {vectors, divide_up(vectors, largest)}, 0, 0, 0, 0, 0};
    c.channel_vectors = c.x.size(0);
    const double copied = c.channel_vectors * (shape.pointwise() ? kPerCopiedVector : kPerSubsampledVector);
    const bool in_place = !entries.sums && may_stay_in_place(kernel, shape, c.channel_vectors);
    c.enter = entering(entries, in_place ? 0 : copied, c.channel_vectors);
    c.block = block.value_or(fitting_block(shape.weight, entries.sums, c.channel_vectors * kernel.lanes * 4));
    c.cycles = predict(kernel, shape, entries, c);
    if (best.block == 0 || c.cycles < best.cycles) best = c;
  }
  return best;
}

// How `length` positions can be cut into pieces of up to `most`: one way for each number of pieces.
std::vector<Split> splits(int64_t length, int64_t most) {
  std::vector<Split> found;
  for (int64_t size = 1; size <= most; ++size) {
    const int64_t parts = divide_up(length, size);
    if (found.empty() || parts < found.back().parts) found.push_back({length, parts});
  }
  return found;
}

// Calls visit(candidate) with every way to cut the output map into tiles that there are kernels for.
template <class Visit>
void for_each_cut(const Kernel& kernel, const ConvShape& shape, const Entries& entries, Visit visit) {
  // Rows of one output channel have all of a tile in registers at once.
  const int64_t most_major = entries.height == 1 ? kMaxMajor : kernel.tiles.most_vectors;
  for (int64_t grid_y = 1; grid_y <= kernel.lanes; grid_y *= 2) {
    const int64_t grid_x = kernel.lanes / grid_y;
    const int64_t rows = divide_up(shape.y.output, grid_y);
    const int64_t columns = divide_up(shape.x.output, grid_x);
    for (const bool minor_is_y : {false, true}) {
      for (const Split& major : splits(minor_is_y ? columns : rows, most_major)) {
        const int64_t most = std::min(kernel.tiles.most_vectors / major.size(0), most_minor(kernel, entries));
        for (const Split& minor : splits(minor_is_y ? rows : columns, most)) {
          visit(Candidate{grid_y, grid_x, minor_is_y, minor_is_y ? minor : major, minor_is_y ? major : minor, 0, 0, 0,
                          0, 0});
        }
      }
    }
  }
}

Candidate best_lanes(const Kernel& kernel, const ConvShape& shape, const Entries& entries,
                     std::optional<int64_t> block) {
  const bool far = shape.input_channels() * shape.input_plane() * 4 > machine().l2_bytes;
  Candidate best{};
  for_each_cut(kernel, shape, entries, [&](Candidate c) {
    const auto [y, x] = input_axes(shape, c.grid_y, c.grid_x, c.y, c.x);
    const auto rows = static_cast<int64_t>(y.own().size());
    const int64_t gathered = rows * static_cast<int64_t>(x.own().size());
    c.channel_vectors = y.slots() * x.slots();
    c.enter = pieces(kernel, rows, x) * kPerGatheredChunk;
    c.enter += gathered * kPerGatheredVector * kernel.lanes / 16 + (c.channel_vectors - gathered) * kPerShiftedVector;
    if (far) c.enter += rows * c.grid_y * kPerFarRow;
    c.enter = entering(entries, c.enter, c.channel_vectors);
    c.leave = pieces(kernel, c.y.size(0), output_axis(c.x.size(0))) * kPerScatteredChunk;
    const int64_t channel_bytes = c.channel_vectors * kernel.lanes * 4;
    c.block = block.value_or(fitting_block(shape.weight, entries.sums, channel_bytes));
    c.cycles = predict(kernel, shape, entries, c);
    const bool affordable = c.block * c.channel_vectors <= kLargestScratch;
    if (affordable && (best.block == 0 || c.cycles < best.cycles)) best = c;
  });
  return best;
}

Candidate best_cut(const Kernel& kernel, const ConvShape& shape, const Entries& entries,
                   std::optional<int64_t> block) {
  return shape.single_pixel() ? best_pixels(kernel, shape, entries, block) : best_lanes(kernel, shape, entries, block);
}

void lay_out_lanes(const Kernel& kernel, const ConvShape& shape, const BlockedCsr& weight, Plan& plan) {
  const auto [y, x] = input_axes(shape, plan.grid_y, plan.grid_x, plan.y, plan.x);
  const int64_t step_y = plan.minor_is_y ? 1 : x.slots();
  const int64_t step_x = plan.minor_is_y ? y.slots() : 1;
  plan.pitch = (plan.minor_is_y ? step_x : step_y) * kernel.lanes * 4;
  plan.input = map_layout(kernel, y, x, plan.minor_is_y);
  add_shifts(plan.shifts, x, step_x, y.own(), step_y,
             [&](int64_t step) { return neighbours(plan.grid_y, plan.grid_x, 0, step); });
  std::vector<int64_t> all_columns(x.slots());
  std::iota(all_columns.begin(), all_columns.end(), 0);
  add_shifts(plan.shifts, y, step_y, all_columns, step_x,
             [&](int64_t step) { return neighbours(plan.grid_y, plan.grid_x, step, 0); });
  plan.index = locate_inputs(weight, plan.channel_vectors, tap_slots(shape, y, step_y, x, step_x));
}

}  // namespace

const Tiles& tiles_for(const Kernel& kernel, int64_t height) { return height == 1 ? kernel.tiles : kernel.tiles_of_4; }

int64_t choose_block(const Kernel& kernel, const ConvShape& shape, const Entries& entries) {
  return best_cut(kernel, shape, entries, std::nullopt).block;
}

double predict_cycles(const Kernel& kernel, const ConvShape& shape, const Entries& entries) {
  return best_cut(kernel, shape, entries, std::nullopt).cycles;
}

Plan make_plan(const Kernel& kernel, const ConvShape& shape, const BlockedCsr& weight) {
  const Candidate c = best_cut(kernel, shape, weight.entries(), weight.block);
  Plan plan{shape.single_pixel(), c.grid_y, c.grid_x,          c.minor_is_y, c.y, c.x, c.block,
            c.cycles,             {},       c.channel_vectors, 0,            {},  {},  false, {}};
  for (int smaller_y = 0; smaller_y < 2; ++smaller_y) {
    for (int smaller_x = 0; smaller_x < 2; ++smaller_x) {
      const int64_t rows = c.y.size(smaller_y ? c.y.parts - 1 : 0);
      const int64_t columns = c.x.size(smaller_x ? c.x.parts - 1 : 0);
      TileLayout& tile = plan.tile[smaller_y][smaller_x];
      tile.major = c.minor_is_y ? columns : rows;
      tile.minor = c.minor_is_y ? rows : columns;
      tile.at_once = at_once(kernel, weight.height, tile.major, tile.minor);
      if (!plan.pixels) tile.output = map_layout(kernel, output_axis(rows), output_axis(columns), c.minor_is_y);
    }
  }
  if (plan.pixels) {
    plan.index = locate_inputs(weight, 1, {0});
    plan.in_place = !weight.sums && may_stay_in_place(kernel, shape, plan.channel_vectors);
  } else {
    lay_out_lanes(kernel, shape, weight, plan);
  }
  return plan;
}

}  // namespace onnxcomp::sparse_conv
