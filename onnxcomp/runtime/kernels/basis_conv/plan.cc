#include "kernels/basis_conv/plan.h"

#include <algorithm>

namespace onnxcomp::basis_conv {
namespace {

using sparse_conv::AxisShape;

// Masks of more taps than a 7x7 kernel's would take more memory than the maps they are for.
constexpr int64_t kMostMaskedTaps = 49;
// What a tile needs of all phases of a channel is to stay in L1.
constexpr int64_t kMostPhaseFloats = 1 << 13;

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t divide_down(int64_t a, int64_t b) { return a >= 0 ? a / b : -divide_up(-a, b); }

// Output p of an axis reads element p + position of a phase.
struct Place {
  Place(const AxisShape& axis, int64_t tap) {
    const int64_t origin = tap * axis.dilation - axis.pad;
    position = divide_down(origin, axis.stride);
    phase = origin - position * axis.stride;
  }
  int64_t phase;
  int64_t position;
};

bool is_inside(const AxisShape& axis, int64_t output, int64_t tap) {
  const int64_t at = output * axis.stride + tap * axis.dilation - axis.pad;
  return at >= 0 && at < axis.input;
}

// What the plan says of phases. `pixels`: of the largest tile.
void find_phases(const ConvShape& shape, int64_t pixels, Plan& plan) {
  const int64_t last = Place(shape.y, shape.y.kernel - 1).position;
  plan.first_row = Place(shape.y, 0).position;
  plan.phase_rows = std::min(divide_up(pixels - 1, shape.x.output) + 1, shape.y.output) + last - plan.first_row;
  for (int64_t tap = 0; tap < shape.weight.taps; ++tap) {
    const Phase phase = {Place(shape.y, tap / shape.x.kernel).phase, Place(shape.x, tap % shape.x.kernel).phase};
    if (std::find(plan.phase.begin(), plan.phase.end(), phase) == plan.phase.end()) plan.phase.push_back(phase);
  }
}

bool phases_fit(const ConvShape& shape, const Plan& plan) {
  return plan.phase_rows <= kMostPhaseFloats / static_cast<int64_t>(plan.phase.size()) / shape.x.output;
}

void place_taps(const ConvShape& shape, Plan& plan) {
  for (int64_t tap = 0; tap < shape.weight.taps; ++tap) {
    const Place y(shape.y, tap / shape.x.kernel);
    const Place x(shape.x, tap % shape.x.kernel);
    int64_t row = y.position;
    if (!plan.phase.empty()) {
      const auto phase = std::find(plan.phase.begin(), plan.phase.end(), Phase{y.phase, x.phase});
      row += (phase - plan.phase.begin()) * plan.phase_rows - plan.first_row;
    }
    plan.offset.push_back(row * shape.x.output + x.position);
  }
}

// Of the vector that begins at pixel `first`.
uint16_t mask_of(const ConvShape& shape, int64_t lanes, int64_t first, int64_t tap) {
  uint16_t mask = 0;
  for (int64_t pixel = first; pixel < std::min(first + lanes, shape.output_plane()); ++pixel) {
    const bool inside = is_inside(shape.y, pixel / shape.x.output, tap / shape.x.kernel) &&
                        is_inside(shape.x, pixel % shape.x.output, tap % shape.x.kernel);
    mask |= static_cast<uint16_t>(inside << (pixel - first));
  }
  return mask;
}

void mask_taps(const ConvShape& shape, int64_t lanes, Plan& plan) {
  const sparse_conv::Split& tiles = plan.pointwise.x;
  const int64_t vectors = tiles.length;
  const bool early = tiles.size(tiles.parts - 1) > 1;  // the last vector ends with the plane
  for (int64_t v = 0; v < vectors; ++v) {
    const int64_t first = v + 1 == vectors && early ? shape.output_plane() - lanes : v * lanes;
    for (int64_t tap = 0; tap < shape.weight.taps; ++tap) plan.mask.push_back(mask_of(shape, lanes, first, tap));
  }
}

// Whether taps can be masked; the plan's phases are then found.
bool choose_phases(const ConvShape& shape, int64_t pixels, Plan& plan) {
  if (shape.x.input != shape.x.stride * shape.x.output || shape.weight.taps > kMostMaskedTaps) return false;
  if (shape.y.stride == 1 && shape.x.stride == 1) return true;
  find_phases(shape, pixels, plan);
  if (phases_fit(shape, plan)) return true;
  plan.phase.clear();
  return false;
}

}  // namespace

Plan make_plan(const sparse_conv::Kernel& kernel, const ConvShape& shape, const Weight& weight) {
  Plan plan{};
  plan.pointwise = sparse_conv::make_plan(kernel, shape_of_maps(shape, weight.bases), weight.coefficients);
  const int64_t pixels = plan.pointwise.channel_vectors * kernel.lanes;
  if (choose_phases(shape, pixels, plan)) {
    place_taps(shape, plan);
    mask_taps(shape, kernel.lanes, plan);
  } else {
    for (int64_t tap = 0; tap < shape.weight.taps; ++tap) plan.offset.push_back(tap * pixels);
  }
  return plan;
}

}  // namespace onnxcomp::basis_conv
