#include "kernels/sparse_conv/axis.h"

#include <algorithm>
#include <utility>

namespace onnxcomp::sparse_conv {
namespace {

struct Tap {
  int64_t residue;   // of tap * dilation modulo the stride
  int64_t quotient;  // of the same
  int64_t number;
};

std::vector<Tap> taps_by_residue(const AxisShape& shape) {
  std::vector<Tap> taps;
  for (int64_t tap = 0; tap < shape.kernel; ++tap) {
    const int64_t input = tap * shape.dilation;
    taps.push_back({input % shape.stride, input / shape.stride, tap});
  }
  std::sort(taps.begin(), taps.end(), [](const Tap& a, const Tap& b) {
    return std::pair(a.residue, a.quotient) < std::pair(b.residue, b.quotient);
  });
  return taps;
}

}  // namespace

Axis::Axis(const AxisShape& shape, int64_t positions) : positions_(positions), start_(shape.kernel) {
  int64_t residue = -1;
  int64_t next = 0;  // quotient of the first input after the current run
  for (const Tap& tap : taps_by_residue(shape)) {
    if (tap.residue != residue || tap.quotient > next) next = tap.quotient;  // a new run
    residue = tap.residue;
    start_[tap.number] = slots() - (next - tap.quotient);
    for (; next < tap.quotient + positions; ++next) input_.push_back(next * shape.stride + residue);
  }
}

void Axis::borrow(const AxisShape& shape, int64_t lanes) {
  const int64_t span = positions_ * shape.stride;
  // What follows the last lane's block is to be padding, as is what goes before the first's: no neighbour has it.
  if (lanes * span < shape.input) return;
  for (int64_t slot = 0; slot < slots(); ++slot) {
    const int64_t inside = input_[slot] - shape.pad;  // relative to the block
    const int64_t step = inside < 0 ? -1 : inside >= span ? 1 : 0;
    const int64_t wanted = inside - step * span;
    if (step == 0 || wanted < 0 || wanted >= span) continue;
    const auto from = std::find(input_.begin(), input_.end(), wanted + shape.pad);
    if (from != input_.end()) loans_.push_back({slot, from - input_.begin(), step});
  }
}

std::vector<int64_t> Axis::own() const {
  std::vector<int64_t> found;
  for (int64_t slot = 0; slot < slots(); ++slot) {
    const auto lent = [slot](const Loan& loan) { return loan.slot == slot; };
    if (std::none_of(loans_.begin(), loans_.end(), lent)) found.push_back(slot);
  }
  return found;
}

std::vector<LaneChunk> Axis::chunks(int columns, int64_t step) const {
  std::vector<std::pair<int64_t, int64_t>> by_input;
  for (const int64_t slot : own()) by_input.emplace_back(input_[slot], slot);
  std::sort(by_input.begin(), by_input.end());
  std::vector<LaneChunk> chunks;
  for (const auto& [input, slot] : by_input) {
    if (chunks.empty() || input >= chunks.back().column + columns) chunks.push_back({input, 0, {}});
    LaneChunk& chunk = chunks.back();
    const auto column = static_cast<int32_t>(input - chunk.column);
    for (; chunk.width < column; ++chunk.width) chunk.slot[chunk.width] = chunk.slot[chunk.width - 1];
    chunk.slot[chunk.width++] = static_cast<int32_t>(slot * step);
  }
  return chunks;
}

}  // namespace onnxcomp::sparse_conv
