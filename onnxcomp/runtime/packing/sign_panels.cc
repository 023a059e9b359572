#include "packing/sign_panels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

#include "packing/bitmap.h"

namespace onnxcomp {
namespace {

// Of four weights of one magnitude.
uint32_t code_of(const float* w) {
  const bool turned = std::signbit(w[0]);
  uint32_t code = turned ? 8 : 0;
  for (int i = 1; i < kQuad; ++i) code |= static_cast<uint32_t>(std::signbit(w[i]) != turned) << (i - 1);
  return code;
}

// The float16 of a magnitude, where there is one.
std::optional<uint16_t> to_half(float magnitude) {
  const uint32_t bits = std::bit_cast<uint32_t>(magnitude);
  const int exponent = static_cast<int>(bits >> 23) - 112;
  const uint32_t fraction = (bits & 0x7fffff) | 0x800000;
  uint32_t half = 0;
  if (exponent > 0) {
    half = static_cast<uint32_t>(exponent) << 10 | (fraction >> 13 & 0x3ff);
  } else if (exponent > -11) {  // subnormal
    half = fraction >> (14 - exponent);
  }
  if (half >= 0x7c00 || half_to_float(static_cast<uint16_t>(half)) != magnitude) return std::nullopt;
  return static_cast<uint16_t>(half);
}

// Float16 instead of float32, where that loses nothing.
void narrow(SignPanels& panels) {
  AlignedVector<uint16_t> narrowed;
  narrowed.reserve(panels.scale.size());
  for (const float scale : panels.scale) {
    const auto half = to_half(scale);
    if (!half) return;
    narrowed.push_back(*half);
  }
  panels.half = true;
  panels.half_scale = std::move(narrowed);
  panels.scale = {};
}

}  // namespace

std::optional<SignPanels> pack_sign_panels(const WeightRows& rows, int64_t outputs, int64_t columns, int64_t lanes,
                                           bool may_be_half) {
  if (outputs % kSignBlock != 0 || columns % kQuad != 0) return std::nullopt;
  SignPanels panels{outputs, columns, lanes, false, {}, {}, {}};
  panels.sign.resize(panels.panels() * panels.octets() * kSignBlock * lanes);
  panels.scale.resize(panels.panels() * panels.octets() * kOctet * lanes);
  std::vector<float> weights(kSignBlock * columns);
  for (int64_t block = 0; block < outputs / kSignBlock; ++block) {
    for (int64_t v = 0; v < kSignBlock; ++v) rows.decode(block * kSignBlock + v, weights.data() + v * columns);
    const int64_t lane = block % lanes;
    const int64_t first_octet = block / lanes * panels.octets();
    for (int64_t quad = 0; quad < panels.quads(); ++quad) {
      const float magnitude = std::abs(weights[quad * kQuad]);
      if (!std::isfinite(magnitude)) return std::nullopt;
      const int64_t octet = first_octet + quad / kOctet;
      panels.scale[(octet * kOctet + quad % kOctet) * lanes + lane] = magnitude;
      for (int64_t v = 0; v < kSignBlock; ++v) {
        const float* w = weights.data() + v * columns + quad * kQuad;
        if (std::any_of(w, w + kQuad, [=](float weight) { return std::abs(weight) != magnitude; })) return std::nullopt;
        panels.sign[(octet * kSignBlock + v) * lanes + lane] |= code_of(w) << 4 * (quad % kOctet);
      }
    }
  }
  if (may_be_half) narrow(panels);
  return panels;
}

}  // namespace onnxcomp
