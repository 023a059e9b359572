#include "kernels/basis_conv/maps.h"

#include <algorithm>

namespace onnxcomp::basis_conv {
namespace {

using sparse_conv::AxisShape;
using sparse_conv::MapPart;

// Outputs [first, last) of an axis under one tap: those in [begin, end) read the input, output p its element
// p * stride + origin.
struct Reach {
  Reach(const AxisShape& axis, int64_t tap, int64_t first, int64_t last) : origin(tap * axis.dilation - axis.pad) {
    const auto reading_below = [&](int64_t input) {
      return input > origin ? (input - origin + axis.stride - 1) / axis.stride : 0;
    };
    begin = std::clamp(reading_below(0), first, last);
    end = std::clamp(reading_below(axis.input), begin, last);
  }
  int64_t origin;
  int64_t begin;
  int64_t end;
};

// Outputs [first, last) of a row, from its input row; null where that lies outside.
float* read_row(const float* row, const Reach& x, int64_t stride, int64_t first, int64_t last, float* to) {
  if (row == nullptr) return std::fill_n(to, last - first, 0.0f);
  to = std::fill_n(to, x.begin - first, 0.0f);
  for (int64_t column = x.begin; column < x.end; ++column) *to++ = row[column * stride + x.origin];
  return std::fill_n(to, last - x.end, 0.0f);
}

}  // namespace

int64_t Maps::scratch_floats() const {
  if (plan_.in_place()) return 0;
  if (plan_.mask.empty()) return shape_.weight.taps * plan_.pointwise.channel_vectors * kernel_.lanes;
  // Whole vectors are stored, and read from the tile's last pixels on.
  return static_cast<int64_t>(plan_.phase.size()) * plan_.phase_rows * shape_.x.output + 2 * kernel_.lanes;
}

void Maps::make(const MapPart& part, float* scratch, float* vectors) const noexcept {
  const WeightShape& w = shape_.weight;
  const int64_t plane = shape_.input_plane();
  const int64_t channels = part.count / weight_.bases;
  const int64_t first = (part.image * w.groups + part.group) * w.channels + part.first / weight_.bases;
  const float* x = x_ + first * plane;
  const int64_t last = std::min(part.pixel + part.vectors * kernel_.lanes, shape_.output_plane());
  const int64_t overlap = part.vectors > 1 ? part.pixel + part.vectors * kernel_.lanes - last : 0;
  Combine c{channels, plane, part.vectors, overlap, weight_.bases, w.taps, weight_.base.data(), plan_.offset.data(),
            nullptr};
  if (!plan_.mask.empty()) c.mask = plan_.mask.data() + part.pixel / kernel_.lanes * w.taps;
  if (plan_.in_place()) return kernel_.combine(c, x + part.pixel, vectors);
  c.channels = 1;
  for (int64_t channel = 0; channel < channels; ++channel) {
    float* maps = vectors + channel * weight_.bases * part.vectors * kernel_.lanes;
    if (plan_.phase.empty()) {
      bring_together(x + channel * plane, part.pixel, last, scratch);
      kernel_.combine(c, scratch, maps);
    } else {
      take_phases(x + channel * plane, part.pixel, scratch);
      kernel_.combine(c, scratch + part.pixel % shape_.x.output, maps);
    }
  }
}

void Maps::take_phases(const float* channel, int64_t first, float* phases) const noexcept {
  const int64_t width = shape_.x.output;
  const int64_t stride = shape_.y.stride;
  const int64_t origin = first / width + plan_.first_row;
  const int64_t rows = plan_.phase_rows;
  for (const Phase& phase : plan_.phase) {
    const int64_t begin = std::max<int64_t>(origin, 0);
    const int64_t end = std::min(origin + rows, (shape_.y.input - phase.row + stride - 1) / stride);
    const float* from = channel + (begin * stride + phase.row) * shape_.x.input + phase.column;
    take_rows(from, end - begin, phases + (begin - origin) * width);
    phases += rows * width;
  }
}

void Maps::take_rows(const float* from, int64_t rows, float* to) const noexcept {
  const int64_t width = shape_.x.output;
  const int64_t row = shape_.y.stride * shape_.x.input;
  const int64_t pixels = rows * width;
  // Whole vectors, then what does not fill one: at the end of several it would not stay in its place.
  const int64_t whole = pixels / kernel_.lanes * kernel_.lanes;
  if (whole > 0) pointwise_.subsample({1, 0, row, shape_.x.stride, width, 0, whole, 0}, from, to);
  if (pixels > whole)
    pointwise_.subsample({1, 0, row, shape_.x.stride, width, whole % width, pixels - whole, 0},
                         from + whole / width * row, to + whole);
}

void Maps::bring_together(const float* channel, int64_t first, int64_t last, float* taps) const noexcept {
  const AxisShape& y = shape_.y;
  const AxisShape& x = shape_.x;
  const int64_t first_row = first / x.output;
  const int64_t last_row = (last - 1) / x.output;
  for (int64_t tap = 0; tap < shape_.weight.taps; ++tap) {
    const Reach rows(y, tap / x.kernel, first_row, last_row + 1);
    float* to = taps + plan_.offset[tap];
    for (int64_t row = first_row; row <= last_row; ++row) {
      const int64_t begin = row == first_row ? first - row * x.output : 0;
      const int64_t end = row == last_row ? last - row * x.output : x.output;
      const bool inside = row >= rows.begin && row < rows.end;
      const float* from = inside ? channel + (row * y.stride + rows.origin) * x.input : nullptr;
      to = read_row(from, Reach(x, tap % x.kernel, begin, end), x.stride, begin, end, to);
    }
  }
}

}  // namespace onnxcomp::basis_conv
