#include "kernels/basis_conv/plan.h"

namespace onnxcomp::basis_conv {
namespace {

using sparse_conv::AxisShape;

// Masks of more taps than a 7x7 kernel's would take more memory than the maps they are for.
constexpr int64_t kMostMaskedTaps = 49;

bool lies_in_place(const ConvShape& shape) {
  return shape.y.stride == 1 && shape.x.stride == 1 && shape.x.input == shape.x.output &&
         shape.weight.taps <= kMostMaskedTaps;
}

int64_t input_at(const AxisShape& axis, int64_t output, int64_t tap) {
  return output * axis.stride + tap * axis.dilation - axis.pad;
}

bool is_inside(const AxisShape& axis, int64_t output, int64_t tap) {
  const int64_t at = input_at(axis, output, tap);
  return at >= 0 && at < axis.input;
}

void place_taps(const ConvShape& shape, int64_t lanes, Plan& plan) {
  const int64_t pixels = shape.output_plane();
  const int64_t taps = shape.weight.taps;
  plan.mask.resize((pixels + lanes - 1) / lanes * taps);
  for (int64_t tap = 0; tap < taps; ++tap) {
    const int64_t tap_y = tap / shape.x.kernel;
    const int64_t tap_x = tap % shape.x.kernel;
    plan.offset.push_back(input_at(shape.y, 0, tap_y) * shape.x.input + input_at(shape.x, 0, tap_x));
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      const bool inside = is_inside(shape.y, pixel / shape.x.output, tap_y) &&
                          is_inside(shape.x, pixel % shape.x.output, tap_x);
      plan.mask[pixel / lanes * taps + tap] |= static_cast<uint16_t>(inside << pixel % lanes);
    }
  }
}

}  // namespace

Plan make_plan(const sparse_conv::Kernel& kernel, const ConvShape& shape, const Weight& weight) {
  Plan plan{sparse_conv::make_plan(kernel, shape_of_maps(shape, weight.bases), weight.coefficients), {}, {}};
  if (lies_in_place(shape)) {
    place_taps(shape, kernel.lanes, plan);
  } else {
    for (int64_t tap = 0; tap < shape.weight.taps; ++tap)
      plan.offset.push_back(tap * plan.pointwise.channel_vectors * kernel.lanes);
  }
  return plan;
}

}  // namespace onnxcomp::basis_conv
