// A fully connected weight whose blocks of 4 outputs x 4 columns have one magnitude each, as the kernels of sign_gemm read
// it: a scale a block, and for each output 4 bits that say which signed sum of the four columns' inputs it takes.
//
// Bits 0 to 2 are a pattern of signs whose first is +, in the order of sign_sums.h; bit 3 turns them all. Outputs come in
// panels of 4 L, where lane l of vector v stands for output 4 l + v, so that a vector of scales serves four of outputs;
// columns come in octets of quads of four, a word of 32 bits holding what one output takes of each quad, the first in
// the lowest bits. What pads a panel or an octet has a scale of zero.
#pragma once

#include <cstdint>
#include <optional>

#include "packing/aligned.h"
#include "packing/sign_sums.h"

namespace onnxcomp {

constexpr int64_t kSignBlock = 4;  // outputs, and vectors to a panel
constexpr int64_t kOctet = 8;      // quads

struct SignPanels {
  int64_t outputs;
  int64_t columns;
  int64_t lanes;  // L
  bool half;      // scales are float16
  AlignedVector<uint32_t> sign;        // [panels][octets][4][L]
  AlignedVector<float> scale;          // [panels][octets][8][L], or nothing
  AlignedVector<uint16_t> half_scale;  // the same, or nothing

  int64_t quads() const { return columns / kQuad; }
  int64_t octets() const { return (quads() + kOctet - 1) / kOctet; }
  int64_t panels() const { return (outputs + kSignBlock * lanes - 1) / (kSignBlock * lanes); }
};

// Nothing where a block of `rows`, [outputs][columns], has more than one magnitude or one that is not finite, or such
// blocks do not divide it. `may_be_half`: scales are float16 where that loses nothing.
std::optional<SignPanels> pack_sign_panels(const WeightRows& rows, int64_t outputs, int64_t columns, int64_t lanes,
                                           bool may_be_half);

}  // namespace onnxcomp
