#include "kernels/sparse_conv/run.h"

#include <algorithm>
#include <atomic>

#include "cpu.h"
#include "kernels/sparse_conv/placement.h"
#include "kernels/sparse_conv/workspace.h"
#include "packing/sign_sums.h"

namespace onnxcomp::sparse_conv {

namespace {

constexpr int64_t kRowsAtOnce = 8;         // finished tiles that stay in L1 until they are stored
constexpr double kTaskCycles = 40'000;     // about 10 us: well above the 0.2 us that a task costs
constexpr int64_t kTasksPerThread = 8;  // so that uneven tasks even out
constexpr uint32_t kInOrder[kRowsAtOnce] = {0, 1, 2, 3, 4, 5, 6, 7};

bool is_clamp(Activation activation) { return activation == Activation::relu || activation == Activation::clip; }

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// In how many parts to cut each tile's output channels for all threads to have their share. Every part loads the tile's
// input for itself, so as few as will do.
int64_t parts_for(int64_t tiles, int64_t threads) {
  int64_t parts = 1;
  while (tiles * parts % threads != 0 && tiles * parts < 4 * threads) ++parts;
  return parts;
}

bool aligned(const float* pointer, int64_t bytes) { return reinterpret_cast<uintptr_t>(pointer) % bytes == 0; }

}  // namespace

Run::Run(const Kernel& kernel, const BlockedCsr& weight, const ConvShape& shape, const Plan& plan, const Finish& finish,
         const Tensors& tensors, int64_t threads, const Source* source)
    : kernel_(kernel),
      weight_(weight),
      shape_(shape),
      plan_(plan),
      finish_(finish),
      tensors_(tensors),
      source_(source) {
  in_place_ = source == nullptr && plan.in_place && aligned(tensors.x, kernel.lanes * 4);
  const int64_t output_bytes = shape.batch * shape.output_channels() * shape.output_plane() * 4;
  fetch_ahead_ = source == nullptr && !weight.sums && plan.pixels && shape.pointwise() &&
                 shape.batch * shape.input_channels() * shape.input_plane() * 4 > machine().l2_bytes;
  stream_ = output_bytes > machine().l3_bytes / 4 && shape.output_plane() % kernel.lanes == 0 &&
            aligned(tensors.y, kernel.lanes * 4);
  choose_tasks(threads);
}

void Run::choose_tasks(int64_t threads) {
  const int64_t tiles = std::max<int64_t>(shape_.batch * plan_.tiles() * weight_.shape.groups, 1);
  const auto worthwhile = static_cast<int64_t>(std::min(plan_.cycles * shape_.batch / kTaskCycles, 1e9));
  // A unit's partial sums are to stay in half of L2.
  const int64_t row_bytes = plan_.tile[0][0].vectors() * kernel_.lanes * 4;
  const int64_t for_cache =
      weight_.blocks > 1 ? divide_up(weight_.shape.outputs * row_bytes * 2, machine().l2_bytes) : 1;
  const int64_t for_threads = worthwhile > 1 ? parts_for(tiles, threads) : 1;
  parts_ = std::clamp<int64_t>(std::max(for_cache, for_threads), 1, divide_up(weight_.shape.outputs, kSortedOutputs));
  tasks_ = threads > 1 ? std::clamp<int64_t>(std::min(worthwhile, kTasksPerThread * threads), 1, tiles * parts_) : 1;
}

Run::Unit Run::unit(int64_t index) const {
  const Split ranges = {divide_up(weight_.shape.outputs, kSortedOutputs), parts_};
  const int64_t part = index % parts_;
  const int64_t range_rows = kSortedOutputs / weight_.height;
  const int64_t first = ranges.begin(part) * range_rows;
  const int64_t last = std::min(first + ranges.size(part) * range_rows, weight_.rows());
  return {index / parts_, first, last - first};
}

bool Run::run(int64_t task) const noexcept {
  return plan_.pixels ? run_tiles<PixelPlacement>(task) : run_tiles<LanePlacement>(task);
}

template <class Placement>
bool Run::run_tiles(int64_t task) const noexcept {
  const int64_t row_floats = weight_.height * plan_.tile[0][0].vectors() * kernel_.lanes;  // of the largest tile
  // One vector more: subsampled rows end anywhere in a vector, and are stored whole.
  const int64_t input_floats = in_place_ ? 0 : (plan_.block * plan_.channel_vectors + 1) * kernel_.lanes;
  const int64_t partial_floats = weight_.blocks > 1 ? unit(0).rows * row_floats : 0;
  const int64_t source_floats = source_ != nullptr ? source_->scratch_floats() : 0;

  Workspace workspace(Workspace::piece<float>(input_floats) + Workspace::piece<float>(source_floats) +
                      Workspace::piece<float>(partial_floats) + Workspace::piece<float>(kRowsAtOnce * row_floats) +
                      Placement::workspace_bytes(kernel_, plan_));
  if (!workspace.ok()) return false;
  Scratch scratch{};
  scratch.input = workspace.take<float>(input_floats);
  scratch.source = workspace.take<float>(source_floats);
  scratch.partial = workspace.take<float>(partial_floats);
  scratch.finished = workspace.take<float>(kRowsAtOnce * row_floats);
  Placement placement(kernel_, shape_, plan_, workspace);

  const int64_t units = weight_.shape.groups * parts_;
  const Split items = {shape_.batch * plan_.tiles() * units, tasks_};
  int64_t placed = -1;
  for (int64_t item = items.begin(task), end = item + items.size(task); item < end; ++item) {
    const int64_t tile = item / units % plan_.tiles();
    if (tile != placed) placement.move_to(placed = tile);
    run_unit(placement, scratch, item / units / plan_.tiles(), unit(item % units), item + 1 < end);
  }
  if (stream_) std::atomic_thread_fence(std::memory_order_seq_cst);  // such stores come in any order
  return true;
}

template <class Placement>
void Run::run_unit(const Placement& tile, const Scratch& scratch, int64_t image, const Unit& unit,
                   bool more) const noexcept {
  const WeightShape& shape = weight_.shape;
  const TileLayout& layout = tile.layout();
  const int64_t tile_floats = layout.vectors() * kernel_.lanes;
  const int64_t vector_bytes = kernel_.lanes * 4;
  const int64_t pixel_bytes = in_place_ ? shape_.input_plane() * 4 : layout.minor * vector_bytes;  // of a channel
  const float* x = tensors_.x + (image * shape_.input_channels() + unit.group * shape_.weight.channels) * shape_.input_plane();

  Multiply m{};
  m.rows = unit.rows;
  m.index = plan_.index.data();
  m.value = weight_.value.data();
  m.unit = plan_.pixels ? pixel_bytes : vector_bytes;
  m.pitch = plan_.pitch;
  m.bias = tensors_.bias + unit.group * shape.outputs;
  m.result = scratch.partial - unit.first * weight_.height * tile_floats;
  m.start_stride = m.result_stride = tile_floats;
  for (int64_t block = 0; block < weight_.blocks; ++block) {
    const bool last = block + 1 == weight_.blocks;
    const int64_t first_row = weight_.first_row(unit.group, block) + unit.first;
    m.row_begin = weight_.row_begin.data() + first_row;
    m.output = m.place = weight_.output.data() + first_row;
    const bool empty = m.row_begin[0] == m.row_begin[unit.rows];
    if (empty && !last) continue;
    const int64_t first = block * weight_.block;
    const float* channels = x + first * shape_.input_plane();
    if (in_place_) {
      m.input = reinterpret_cast<const char*>(channels + tile.first());
    } else {
      m.input = reinterpret_cast<const char*>(scratch.input);
      const int64_t count = empty ? 0 : std::min(weight_.block, shape.channels - first);
      if (source_ == nullptr) {
        load_input(tile, x, first, count, scratch.input);
      } else {
        source_->make({image, unit.group, first, count, tile.first(), layout.vectors()}, scratch.source, scratch.input);
      }
    }
    if (more && fetch_ahead_) {
      const bool same_image = tile.first() + tile_floats < shape_.input_plane();
      const int64_t next = same_image ? tile.first() + tile_floats : shape_.input_channels() * shape_.input_plane();
      m.ahead = channels + next;
      m.ahead_stride = shape_.input_plane();
      m.ahead_channels = std::min(weight_.block, shape.channels - first);
    }
    if (last) {
      finish_rows(tile, scratch, image * shape_.output_channels() + unit.group * shape.outputs, m);
    } else {
      multiply(layout, m);
      m.start = m.result;
    }
  }
}

template <class Placement>
void Run::load_input(const Placement& tile, const float* x, int64_t first, int64_t count,
                     float* vectors) const noexcept {
  const int64_t plane = shape_.input_plane();
  if (!weight_.sums) return tile.load_input(x + first * plane, count, vectors);
  const int64_t floats = (plan_.pixels ? tile.layout().minor : plan_.channel_vectors) * kernel_.lanes;  // of a channel
  for (int64_t quad = first / kSums; quad < (first + count) / kSums; ++quad, vectors += kSums * floats) {
    const int64_t own = std::min(kQuad, shape_.weight.channels - quad * kQuad);
    tile.load_input(x + quad * kQuad * plane, own, vectors);
    std::fill(vectors + own * floats, vectors + kQuad * floats, 0.0f);
    kernel_.sum(floats, vectors);
  }
}

// All of a tile, as many positions along its major axis as registers have room for at a time.
void Run::multiply(const TileLayout& tile, Multiply m) const noexcept {
  const Tiles& tiles = tiles_for(kernel_, weight_.height);
  if (plan_.pixels) return tiles.pixels[tile.minor - 1](m);
  for (int64_t done = 0; done < tile.major; done += tile.at_once) {
    const int64_t major = std::min(tile.at_once, tile.major - done);
    tiles.multiply[major - 1][tile.minor - 1](m);
    const int64_t floats = major * tile.minor * kernel_.lanes;
    m.input += major * m.pitch;
    m.result += floats;
    if (m.start != nullptr) m.start += floats;
    if (m.residual != nullptr) m.residual += floats;
  }
}

// The last block of input channels, and what comes after it.
template <class Placement>
void Run::finish_rows(const Placement& tile, const Scratch& scratch, int64_t first_plane, Multiply& m) const noexcept {
  const int64_t height = weight_.height;
  const int64_t plane = shape_.output_plane();
  const int64_t tile_floats = m.result_stride;
  m.clamp = is_clamp(finish_.activation);
  m.low = finish_.low;
  m.high = finish_.high;
  const bool activate = finish_.activation != Activation::none && !m.clamp;
  if (tile.contiguous() && !activate) {
    const int64_t begin = first_plane * plane + tile.first();
    m.result = tensors_.y + begin;
    m.result_stride = plane;
    m.overlap = tile.overlap();
    m.stream = stream_;
    if (tensors_.residual != nullptr) m.residual = tensors_.residual + begin;
    return multiply(tile.layout(), m);
  }
  m.result = scratch.finished;
  m.place = kInOrder;
  m.ahead_channels = 0;
  if (tensors_.residual != nullptr) m.residual = scratch.finished;
  // Where the map of the i-th finished output channel begins in the output.
  const auto begin = [&](int64_t i) { return (first_plane + m.output[i / height] * height + i % height) * plane; };
  const int64_t rows = m.rows;
  for (int64_t row = 0; row < rows; row += m.rows) {
    m.rows = std::min(kRowsAtOnce, rows - row);
    for (int64_t i = 0; i < m.rows * height && m.residual != nullptr; ++i)
      tile.load_output(tensors_.residual + begin(i), scratch.finished + i * tile_floats);
    multiply(tile.layout(), m);
    for (int64_t i = 0; i < m.rows * height; ++i) {
      float* vectors = scratch.finished + i * tile_floats;
      if (activate) kernel_.finish(finish_, nullptr, vectors, tile_floats);
      tile.store_output(vectors, tensors_.y + begin(i));
    }
    m.row_begin += m.rows;
    m.output += m.rows;
  }
}

}  // namespace onnxcomp::sparse_conv
