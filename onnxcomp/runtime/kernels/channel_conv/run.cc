#include "kernels/channel_conv/run.h"

#include <algorithm>

#include "kernels/channel_conv/tasks.h"
#include "kernels/sparse_conv/workspace.h"

namespace onnxcomp::channel_conv {
namespace {

using sparse_conv::Workspace;

constexpr int64_t kPixels = 16;  // to a piece

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Bits [from, to) of a chunk's columns, clamped to it.
uint16_t columns_inside(int64_t from, int64_t to) {
  from = std::clamp<int64_t>(from, 0, kPixels);
  to = std::clamp<int64_t>(to, from, kPixels);
  return static_cast<uint16_t>((1u << to) - (1u << from));
}

}  // namespace

Run::Run(const Kernel& kernel, FinishFn finish_fn, const Weight& weight, const ConvShape& shape, const Plan& plan,
         const Finish& finish, const Tensors& tensors, int64_t threads)
    : kernel_(kernel),
      finish_fn_(finish_fn),
      weight_(weight),
      shape_(shape),
      plan_(plan),
      finish_(finish),
      tensors_(tensors),
      separate_finish_(is_separate(finish, tensors.residual)),
      blocks_(divide_up(windows(), plan.block)) {
  choose_tasks(threads);
}

void Run::choose_tasks(int64_t threads) {
  const int64_t inputs = shape_.batch * shape_.weight.groups * plan_.strips();
  const double cycles = plan_.cycles * static_cast<double>(shape_.batch);
  const int64_t for_threads =
      threads > 1 ? divide_up(std::min(worthwhile_tasks(cycles), 2 * threads), std::max<int64_t>(inputs, 1)) : 1;
  parts_ = std::clamp<int64_t>(for_threads, 1, rows());
  tasks_ = tasks_for(cycles, threads, inputs * parts_);
}

Run::Unit Run::unit(int64_t index) const {
  const Split split = {rows(), parts_};
  const int64_t part = index % parts_;
  const int64_t input = index / parts_;
  const int64_t strip = input % plan_.strips();
  const int64_t group = input / plan_.strips() % shape_.weight.groups;
  return {input / plan_.strips() / shape_.weight.groups,
          group,
          strip / plan_.strip_x.parts,
          strip % plan_.strip_x.parts,
          split.begin(part),
          split.size(part),
          input};
}

int32_t Run::channels_of(int64_t row) const {
  return static_cast<int32_t>(std::min(kChannels, shape_.weight.outputs - row * kChannels));
}

bool Run::run(int64_t task) const noexcept {
  const int64_t tile_floats = plan_.tile_y.size(0) * plan_.tile_x.size(0) * kChannels;
  const int64_t input_floats = windows() * plan_.window * kChannels;
  const int64_t partial_floats = blocks_ > 1 ? unit(0).rows * tile_floats : 0;
  Workspace workspace(Workspace::piece<float>(input_floats) + Workspace::piece<float>(partial_floats) +
                      2 * Workspace::piece<float>(tile_floats));
  if (!workspace.ok()) return false;
  Scratch scratch{};
  scratch.input = workspace.take<float>(input_floats);
  scratch.partial = workspace.take<float>(partial_floats);
  scratch.finished = workspace.take<float>(tile_floats);
  scratch.residual = workspace.take<float>(tile_floats);

  const Split items = {shape_.batch * shape_.weight.groups * plan_.strips() * parts_, tasks_};
  int64_t gathered = -1;
  for (int64_t item = items.begin(task), end = item + items.size(task); item < end; ++item) {
    const Unit u = unit(item);
    if (u.input != gathered) gather(u, scratch.input);
    gathered = u.input;
    const int64_t first_y = plan_.strip_y.begin(u.part_y);
    const int64_t first_x = plan_.strip_x.begin(u.part_x);
    for (int64_t y = first_y; y < first_y + plan_.strip_y.size(u.part_y); ++y) {
      for (int64_t x = first_x; x < first_x + plan_.strip_x.size(u.part_x); ++x)
        run_tile(u, {plan_.tile_y.begin(y), plan_.tile_x.begin(x), plan_.tile_y.size(y), plan_.tile_x.size(x)},
                 scratch);
    }
  }
  return true;
}

// The strip's input, over all channels of the group, into the scratch.
void Run::gather(const Unit& unit, float* scratch) const noexcept {
  const int64_t plane = shape_.input_plane();
  const int64_t origin_y = plan_.tile_y.begin(plan_.strip_y.begin(unit.part_y)) * shape_.y.stride - shape_.y.pad;
  const int64_t origin_x = plan_.tile_x.begin(plan_.strip_x.begin(unit.part_x)) * shape_.x.stride - shape_.x.pad;
  const float* x = tensors_.x + (unit.image * shape_.input_channels() + unit.group * shape_.weight.channels) * plane;
  for (int64_t window = 0; window < windows(); ++window) {
    const int64_t channel = window * kChannels;
    const Planes planes = {plane, static_cast<int32_t>(std::min(kChannels, shape_.weight.channels - channel))};
    float* to = scratch + window * plan_.window * kChannels;
    for (const int64_t row : plan_.row) {
      const int64_t at_y = origin_y + row;
      const bool inside = at_y >= 0 && at_y < shape_.y.input;
      for (const LaneChunk& chunk : plan_.chunk) {
        const int64_t at_x = origin_x + chunk.column;
        const uint16_t mask = inside ? columns_inside(-at_x, shape_.x.input - at_x) : uint16_t{0};
        kernel_.gather(planes, chunk, mask, mask != 0 ? x + channel * plane + at_y * shape_.x.input + at_x : x, to);
      }
      to += plan_.pitch / static_cast<int64_t>(sizeof(float));
    }
  }
}

void Run::run_tile(const Unit& unit, const Place& tile, const Scratch& scratch) const noexcept {
  const int64_t from_y = tile.y - plan_.tile_y.begin(plan_.strip_y.begin(unit.part_y));
  const int64_t from_x = tile.x - plan_.tile_x.begin(plan_.strip_x.begin(unit.part_x));
  const char* input = reinterpret_cast<const char*>(scratch.input + from_x * kChannels) + from_y * plan_.pitch;
  for (int64_t block = 0; block < blocks_; ++block) {
    const bool last = block + 1 == blocks_;
    for (int64_t r = 0; r < unit.rows; ++r) {
      const int64_t row = unit.first_row + r;
      float* partial = scratch.partial + r * tile.floats();
      alignas(64) float bias[kChannels] = {};
      const float* all = tensors_.bias + unit.group * shape_.weight.outputs + row * kChannels;
      std::copy(all, all + channels_of(row), bias);
      Sums sums{};
      sums.input = input + block * plan_.block * plan_.window * kChannels * static_cast<int64_t>(sizeof(float));
      sums.pitch = plan_.pitch;
      sums.start = block == 0 ? nullptr : partial;
      sums.bias = bias;
      sums.result = last ? scratch.finished : partial;
      sums.clamp = last && !separate_finish_ && is_clamp(finish_.activation);
      sums.low = finish_.low;
      sums.high = finish_.high;
      multiply(unit, tile, block, row, sums);
      if (last) finish_row(unit, tile, scratch, row);
    }
  }
}

void Run::multiply(const Unit& unit, const Place& tile, int64_t block, int64_t row, const Sums& sums) const noexcept {
  if (const ChannelBlocks* blocks = weight_.blocks()) {
    const uint32_t* begin = blocks->begin.data() + blocks->row(unit.group, block, row);
    kernel_.blocks[tile.major - 1][tile.minor - 1](
        {begin[1] - begin[0], plan_.offset.data() + begin[0], blocks->value.data() + begin[0] * kChannels}, sums);
  } else {
    const ChannelWindows& w = *weight_.windows();
    const int64_t first = block * plan_.block;
    const int64_t count = std::min(plan_.block, w.windows - first) * w.shape.taps * w.kept;
    const int64_t at = w.first(unit.group, row, first);
    kernel_.windows[tile.major - 1][tile.minor - 1](
        {count, plan_.offset.data(), w.value.data() + at, w.place.data() + at}, sums);
  }
}

template <class Visit>
void Run::for_each_piece(const Place& tile, Visit visit) const noexcept {
  const int64_t width = shape_.x.output;
  const bool contiguous = tile.minor == width;
  const int64_t runs = contiguous ? 1 : tile.major;
  const int64_t length = contiguous ? tile.major * tile.minor : tile.minor;
  for (int64_t run = 0; run < runs; ++run) {
    for (int64_t pixel = 0; pixel < length; pixel += kPixels)
      visit((tile.y + run) * width + tile.x + pixel, run * length + pixel,
            static_cast<int32_t>(std::min(kPixels, length - pixel)));
  }
}

// Residual and activation, and out of the scratch.
void Run::finish_row(const Unit& unit, const Place& tile, const Scratch& scratch, int64_t row) const noexcept {
  const int64_t plane = shape_.output_plane();
  const int64_t channel = unit.image * shape_.output_channels() + unit.group * shape_.weight.outputs + row * kChannels;
  const Planes planes = {plane, channels_of(row)};
  if (tensors_.residual != nullptr) {
    for_each_piece(tile, [&](int64_t at, int64_t vector, int32_t count) {
      LaneChunk in_order{0, count, {}};
      for (int32_t i = 0; i < count; ++i) in_order.slot[i] = i;
      kernel_.gather(planes, in_order, columns_inside(0, count), tensors_.residual + channel * plane + at,
                     scratch.residual + vector * kChannels);
    });
  }
  if (separate_finish_)
    finish_fn_(finish_, tensors_.residual != nullptr ? scratch.residual : nullptr, scratch.finished, tile.floats());
  for_each_piece(tile, [&](int64_t at, int64_t vector, int32_t count) {
    kernel_.scatter(planes, count, scratch.finished + vector * kChannels, tensors_.y + channel * plane + at);
  });
}

}  // namespace onnxcomp::channel_conv
