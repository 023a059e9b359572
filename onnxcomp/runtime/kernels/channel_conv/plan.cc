#include "kernels/channel_conv/plan.h"

#include <algorithm>

#include "cpu.h"
#include "kernels/channel_conv/contract.h"
#include "kernels/sparse_conv/axis.h"

namespace onnxcomp::channel_conv {
namespace {

using sparse_conv::Axis;

constexpr int64_t kVectorBytes = kChannels * 4;
constexpr int kColumns = 16;  // of a chunk

// Cycles on a core with two FMA units and two vector loads a cycle, from loops over one tile on Zen 5.
constexpr double kPerBlockPixel = 0.52;  // an FMA with a broadcast from memory
constexpr double kPerPlacePixel = 0.78;  // a permutation and an FMA
constexpr double kPerEntry = 2.0;        // its values, which are in L2 or farther, and where its input is
constexpr double kPerSum = 1.3;          // in and out, for each block of input channels
constexpr double kPerRow = 30.0;         // a loop begun and ended, for each block of input channels
constexpr double kPerPixelProduct = 0.52;  // pixels as lanes: an FMA, now and then a broadcast
constexpr double kPerPixelVector = 3.0;   // a sum begun, finished and stored
constexpr double kPerScatter = 105.0;     // up to 16 pixels of 16 channels transposed and stored
constexpr double kPerGather = 90.0;       // the same on the way in

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

int64_t l1_budget() { return machine().l1_bytes / 2; }  // the rest is for weights and sums passing through

// A tile's share of the map, and the windows of its input that L1 holds.
struct Tiling {
  Split y;
  Split x;
  int64_t block;
  double cycles;
};

Tiling tiling(const ConvShape& shape, const Work& work, int64_t major, int64_t minor) {
  Tiling t{{shape.y.output, divide_up(shape.y.output, major)},
           {shape.x.output, divide_up(shape.x.output, minor)}, 0, 0};
  const WeightShape& w = shape.weight;
  const int64_t rows = t.y.size(0);
  const int64_t columns = t.x.size(0);
  const int64_t window_bytes = Axis(shape.y, rows).slots() * Axis(shape.x, columns).slots() * kVectorBytes;
  const int64_t windows = divide_up(w.channels, kChannels);
  const int64_t fitting = std::clamp<int64_t>(l1_budget() / window_bytes, 1, windows);
  t.block = divide_up(windows, divide_up(windows, fitting));
  const auto pixels = static_cast<double>(rows * columns);
  const auto chunks = static_cast<double>(columns == shape.x.output ? divide_up(rows * columns, kColumns) : rows);
  const auto blocks = static_cast<double>(divide_up(windows, t.block));
  const double row = work.entries * (pixels * work.cycles + kPerEntry) + blocks * (pixels * kPerSum + kPerRow) +
                     chunks * kPerScatter;
  const double input = static_cast<double>(windows * rows) * static_cast<double>(columns) / kColumns * kPerGather;
  t.cycles = static_cast<double>(t.y.parts) * t.x.parts * w.groups *
             (divide_up(w.outputs, kChannels) * row + input);
  return t;
}

Tiling best_tiling(const ConvShape& shape, const Work& work) {
  std::optional<Tiling> best;
  for (int64_t major = 1; major <= kMaxMajor; ++major) {
    for (int64_t minor = 1; minor <= std::min<int64_t>(kMaxMinor, kAccumulators / major); ++minor) {
      const Tiling t = tiling(shape, work, major, minor);
      if (!best || t.cycles < best->cycles) best = t;
    }
  }
  return *best;
}

// Of a weight in blocks that is run pixel by pixel.
double pixel_cycles(const ConvShape& shape, const Work& work) {
  const WeightShape& w = shape.weight;
  const auto vectors = static_cast<double>(w.groups * w.outputs * pixel_vectors(shape).length);
  return vectors * (work.entries * kPerPixelProduct + kPerPixelVector);
}

bool prefers_pixels(const ConvShape& shape, const Work& work, const Tiling& tiling) {
  return shape.pointwise() && pixel_cycles(shape, work) < tiling.cycles;
}

// The positions of the largest strip.
int64_t positions(const Split& strip, const Split& tile) { return tile.begin(strip.size(0)); }

// Cuts the map into so many strips that the input of one, over all channels of a group, stays in half of L2.
void cut_strips(Plan& plan, const ConvShape& shape) {
  const int64_t budget = machine().l2_bytes / 2;
  const int64_t window_bytes = divide_up(shape.weight.channels, kChannels) * kVectorBytes;
  const auto bytes = [&] {
    return window_bytes * Axis(shape.y, positions(plan.strip_y, plan.tile_y)).slots() *
           Axis(shape.x, positions(plan.strip_x, plan.tile_x)).slots();
  };
  plan.strip_y = {plan.tile_y.parts, 1};
  plan.strip_x = {plan.tile_x.parts, 1};
  for (Split* strip : {&plan.strip_y, &plan.strip_x}) {
    strip->parts = std::clamp<int64_t>(bytes() / budget, 1, strip->length);
    while (strip->parts < strip->length && bytes() > budget) ++strip->parts;
  }
}

std::vector<int32_t> offsets(const Plan& plan, const Weight& weight, const Axis& y, const Axis& x,
                             int64_t kernel_width) {
  const int64_t taps = weight.shape().taps;
  const auto at = [&](int64_t window, int64_t tap) {
    return static_cast<int32_t>(window * plan.window * kVectorBytes + y.start(tap / kernel_width) * plan.pitch +
                                x.start(tap % kernel_width) * kVectorBytes);
  };
  std::vector<int32_t> offset;
  if (const ChannelBlocks* blocks = weight.blocks()) {
    for (int64_t entry = 0; entry < blocks->entries(); ++entry) {
      const int64_t channel = blocks->column[entry] / taps;
      offset.push_back(at(channel / kChannels % plan.block, blocks->column[entry] % taps) +
                       static_cast<int32_t>(channel % kChannels * sizeof(float)));
    }
  } else {
    for (int64_t window = 0; window < plan.block; ++window) {
      for (int64_t tap = 0; tap < taps; ++tap)
        offset.insert(offset.end(), weight.windows()->kept, at(window, tap));
    }
  }
  offset.resize(offset.size() + kSpareOffsets);
  return offset;
}

}  // namespace

Work work_of_blocks(const WeightShape& shape, int64_t kept) {
  return {static_cast<double>(kept) * kChannels / static_cast<double>(shape.groups * shape.outputs), kPerBlockPixel};
}

Work work_of_windows(const WeightShape& shape, int64_t kept) {
  return {static_cast<double>(divide_up(shape.channels, kChannels) * shape.taps * kept), kPerPlacePixel};
}

Work work_of(const Weight& weight) {
  if (const ChannelBlocks* blocks = weight.blocks())
    return work_of_blocks(blocks->shape, blocks->entries());
  return work_of_windows(weight.shape(), weight.windows()->kept);
}

double predict_cycles(const ConvShape& shape, const Work& work) { return best_tiling(shape, work).cycles; }

Split pixel_vectors(const ConvShape& shape) {
  const int64_t vectors = divide_up(shape.output_plane(), kChannels);
  return {vectors, divide_up(vectors, kPixelVectors)};
}

int64_t choose_block(const ConvShape& shape, const Work& work) {
  const Tiling best = best_tiling(shape, work);
  return prefers_pixels(shape, work, best) ? divide_up(shape.weight.channels, kChannels) : best.block;
}

Plan make_plan(const ConvShape& shape, const Weight& weight) {
  const Work work = work_of(weight);
  const Tiling best = best_tiling(shape, work);
  const bool pixels =
      weight.blocks() != nullptr && weight.blocks()->blocks == 1 && prefers_pixels(shape, work, best);
  const double cycles = pixels ? pixel_cycles(shape, work) : best.cycles;
  Plan plan{pixels, best.y, best.x, {}, {}, best.block, cycles, 0, 0, {}, {}, {}};
  if (weight.blocks() != nullptr) plan.block = weight.blocks()->block;
  cut_strips(plan, shape);
  const Axis y(shape.y, positions(plan.strip_y, plan.tile_y));
  const Axis x(shape.x, positions(plan.strip_x, plan.tile_x));
  plan.pitch = x.slots() * kVectorBytes;
  plan.window = (y.slots() * x.slots()) | 1;  // odd: windows of one pixel spread over all sets of a cache
  for (int64_t slot = 0; slot < y.slots(); ++slot) plan.row.push_back(y.input(slot));
  plan.chunk = x.chunks(kColumns, 1);
  plan.offset = offsets(plan, weight, y, x, shape.x.kernel);
  return plan;
}

}  // namespace onnxcomp::channel_conv
