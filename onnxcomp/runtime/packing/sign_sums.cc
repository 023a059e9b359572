#include "packing/sign_sums.h"

#include <algorithm>
#include <cmath>

namespace onnxcomp {
namespace {

struct Term {
  int64_t pattern;
  float value;
};

// Bit i: channel i + 1 has another sign than channel 0.
int64_t pattern_of(unsigned negative) { return (negative & 1 ? ~negative : negative) >> 1 & 7; }

// The term of patterns whose bit i of `negative` says that channel i is subtracted.
Term term(unsigned negative, double value) {
  return {pattern_of(negative), static_cast<float>(negative & 1 ? -value : value)};
}

// Weights of four channels at one output and tap, seen for their magnitudes.
struct Quad {
  explicit Quad(const float* w) {
    for (int i = 0; i < kQuad; ++i) {
      const float magnitude = std::abs(w[i]);
      nonzeros += magnitude != 0;
      negative |= static_cast<unsigned>(std::signbit(w[i])) << i;
      largest = std::max(largest, magnitude);
      smallest = i == 0 ? magnitude : std::min(smallest, magnitude);
    }
    for (int i = 0; i < kQuad; ++i) {
      const float magnitude = std::abs(w[i]);
      smaller |= static_cast<unsigned>(magnitude == smallest) << i;
      magnitudes_are_two = magnitudes_are_two && (magnitude == smallest || magnitude == largest);
    }
  }

  int64_t terms() const {
    if (nonzeros == 0) return 0;
    return largest == smallest ? 1 : magnitudes_are_two ? 2 : kQuad;
  }

  int64_t nonzeros = 0;
  unsigned negative = 0;
  unsigned smaller = 0;
  float largest = 0;
  float smallest = 0;
  bool magnitudes_are_two = true;
};

// Returns how many terms there are.
int64_t split(const float* w, const Quad& quad, Term (&terms)[kQuad]) {
  const int64_t count = quad.terms();
  const double a = quad.largest;
  const double b = quad.smallest;
  if (count == 1) terms[0] = term(quad.negative, a);
  if (count == 2) {
    terms[0] = term(quad.negative, (a + b) / 2);
    terms[1] = term(quad.negative ^ quad.smaller, (a - b) / 2);
  }
  if (count == kQuad) {
    constexpr unsigned kOrthogonal[kQuad] = {0b0000, 0b1100, 0b1010, 0b0110};
    for (int i = 0; i < kQuad; ++i) {
      double sum = 0;
      for (int c = 0; c < kQuad; ++c) sum += kOrthogonal[i] >> c & 1 ? -double{w[c]} : double{w[c]};
      terms[i] = term(kOrthogonal[i], sum / kQuad);
    }
  }
  return count;
}

// Calls visit(quad number, tap, weights of its four channels) for one output channel's row.
template <class Visit>
void for_each_quad(const float* row, const WeightShape& shape, Visit visit) {
  for (int64_t first = 0; first < shape.channels; first += kQuad) {
    for (int64_t tap = 0; tap < shape.taps; ++tap) {
      float w[kQuad] = {};
      for (int64_t i = 0; i < std::min(kQuad, shape.channels - first); ++i) w[i] = row[(first + i) * shape.taps + tap];
      visit(first / kQuad, tap, w);
    }
  }
}

// A row of the weight rewritten, [shape_of_sums's channels][taps].
void rewrite(const float* row, const WeightShape& shape, std::vector<float>& summed) {
  std::fill(summed.begin(), summed.end(), 0.0f);
  for_each_quad(row, shape, [&](int64_t number, int64_t tap, const float* w) {
    Term terms[kQuad];
    const int64_t count = split(w, Quad(w), terms);
    for (int64_t i = 0; i < count; ++i)
      summed[(number * kSums + terms[i].pattern) * shape.taps + tap] = terms[i].value;
  });
}

}  // namespace

WeightShape shape_of_sums(const WeightShape& shape) {
  return {shape.groups, shape.outputs, (shape.channels + kQuad - 1) / kQuad * kSums, shape.taps};
}

EntryCounts count_entries(const WeightRows& rows, const WeightShape& shape) {
  EntryCounts counts{0, 0, true};
  std::vector<float> row(shape.channels * shape.taps);
  for (int64_t output = 0; output < shape.groups * shape.outputs; ++output) {
    rows.decode(output, row.data());
    for_each_quad(row.data(), shape, [&](int64_t, int64_t, const float* w) {
      const Quad quad(w);
      counts.channels += quad.nonzeros;
      counts.sums += quad.terms();
      for (int i = 0; i < kQuad; ++i) counts.finite = counts.finite && std::isfinite(w[i]);
    });
  }
  return counts;
}

OwnBitmap::OwnBitmap(const WeightRows& rows, const WeightShape& shape, bool sums) {
  const WeightShape written = sums ? shape_of_sums(shape) : shape;
  const int64_t columns = written.channels * written.taps;
  const int64_t outputs = shape.groups * shape.outputs;
  elements_ = outputs * columns;
  mask_.resize((elements_ + 7) / 8);
  std::vector<float> row(shape.channels * shape.taps);
  std::vector<float> summed(sums ? columns : 0);
  for (int64_t output = 0; output < outputs; ++output) {
    rows.decode(output, row.data());
    if (sums) rewrite(row.data(), shape, summed);
    const std::vector<float>& written_row = sums ? summed : row;
    for (int64_t column = 0; column < columns; ++column) {
      if (written_row[column] == 0) continue;
      const int64_t element = output * columns + column;
      mask_[element / 8] |= static_cast<uint8_t>(1u << element % 8);
      values_.push_back(written_row[column]);
    }
  }
}

Bitmap OwnBitmap::bitmap() const {
  return {mask_.data(),  static_cast<int64_t>(mask_.size()),   values_.data(),
          false,         static_cast<int64_t>(values_.size()), elements_};
}

}  // namespace onnxcomp
