// A convolution with random data whose weight comes in blocks, for the test and the benchmark, run through the
// production packer and planner; and what it should give.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/sparse_conv/problem.h"
#include "kernels/sparse_conv/reference.h"
#include "kernels/unified_conv/weight.h"

namespace onnxcomp::unified_conv {

struct Problem {
  sparse_conv::Problem conv;  // `density` is not used
  int64_t outputs = 4;        // of a block
  int64_t channels = 4;
  std::vector<float> levels = {1, -1};
  double zero = 0;  // shares of the blocks
  double free = 0;
};

class DenseRows final : public WeightRows {
 public:
  DenseRows(const std::vector<float>& weight, int64_t columns) : weight_(weight), columns_(columns) {}
  void decode(int64_t output, float* row) const override {
    std::copy_n(weight_.begin() + output * columns_, columns_, row);
  }

 private:
  const std::vector<float>& weight_;
  int64_t columns_;
};

// [output channels][channels of a group][taps]. Blocks that the channels cut off are smaller.
inline std::vector<float> random_blocks(const Problem& p, std::mt19937& random) {
  const WeightShape& w = p.conv.shape.weight;
  std::vector<float> weight(w.groups * w.outputs * w.channels * w.taps);
  std::uniform_real_distribution<double> uniform;
  std::normal_distribution<float> normal;
  std::uniform_int_distribution<size_t> level(0, p.levels.size() - 1);
  for (int64_t first_output = 0; first_output < w.groups * w.outputs; first_output += p.outputs) {
    for (int64_t first_channel = 0; first_channel < w.channels; first_channel += p.channels) {
      for (int64_t tap = 0; tap < w.taps; ++tap) {
        const double kind = uniform(random);
        const float scale = kind < p.zero ? 0 : static_cast<float>(0.5 + uniform(random));
        for (int64_t o = first_output; o < std::min(first_output + p.outputs, w.groups * w.outputs); ++o) {
          for (int64_t c = first_channel; c < std::min(first_channel + p.channels, w.channels); ++c) {
            const float value = kind > 1 - p.free ? normal(random) : scale * p.levels[level(random)];
            weight[(o * w.channels + c) * w.taps + tap] = value;
          }
        }
      }
    }
  }
  return weight;
}

// No less than the magnitudes of the products that a weight's four channels are rewritten as, each with all of them:
// those with orthogonal patterns add up to the root of four times their squares, which is the norm of the four.
inline std::vector<float> norms(const std::vector<float>& weight, const WeightShape& w) {
  std::vector<float> result(weight.size());
  for (size_t i = 0; i < weight.size(); ++i) {
    const auto column = static_cast<int64_t>(i) / w.taps % w.channels;
    const float* first = weight.data() + i - column % kQuad * w.taps;
    double squares = 0;
    for (int64_t c = 0; c < std::min(kQuad, w.channels - column / kQuad * kQuad); ++c)
      squares += double{first[c * w.taps]} * first[c * w.taps];
    result[i] = static_cast<float>(std::sqrt(squares));
  }
  return result;
}

inline std::vector<float> absolute(const float* values, int64_t count) {
  std::vector<float> result(count);
  for (int64_t i = 0; i < count; ++i) result[i] = std::abs(values[i]);
  return result;
}

struct Data {
  Data(const Problem& p, std::mt19937& random) : conv(p.conv, random) { conv.weight = random_blocks(p, random); }

  // By definition. Errors are proportional to what the products' magnitudes add up to as they are computed.
  sparse_conv::Reference expected(const Problem& p) const {
    const ConvShape& s = p.conv.shape;
    sparse_conv::Reference result = sparse_conv::reference(conv.weight, s, p.conv.finish, conv.tensors);
    const auto x = absolute(conv.tensors.x, s.batch * s.input_channels() * s.input_plane());
    const auto bias = absolute(conv.tensors.bias, s.output_channels());
    const auto residual = absolute(conv.tensors.residual, p.conv.residual ? result.y.size() : 0);
    const sparse_conv::Tensors tensors = {x.data(), bias.data(), p.conv.residual ? residual.data() : nullptr, nullptr};
    const sparse_conv::Finish none = {sparse_conv::Activation::none, 0, 0, 0};
    result.magnitude = sparse_conv::reference(norms(conv.weight, s.weight), s, none, tensors).y;
    return result;
  }

  sparse_conv::Data conv;
};

// The weight packed as when a session is created, and the plan for the shape at hand.
struct Prepared {
  // `expected` is the shape the weight is packed for.
  Prepared(const sparse_conv::Kernel& kernel, const Problem& p, const Data& data, const ConvShape& expected)
      : weight(pack_weight(kernel, expected, DenseRows(data.conv.weight, sparse_conv::Data::columns(p.conv)))),
        plan(unified_conv::make_plan(kernel, p.conv.shape, weight)) {}

  BlockedCsr weight;
  sparse_conv::Plan plan;
};

}  // namespace onnxcomp::unified_conv
