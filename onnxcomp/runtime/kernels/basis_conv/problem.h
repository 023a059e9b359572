// A convolution with shared bases and random data, for the test and the benchmark, run through the production packer
// and planner; and what it should give.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/basis_conv/maps.h"
#include "kernels/sparse_conv/problem.h"
#include "kernels/sparse_conv/reference.h"

namespace onnxcomp::basis_conv {

struct Problem {
  sparse_conv::Problem conv;  // `density` is the coefficients'
  int64_t bases;
};

// The dense weight: [output channels][channels of a group][taps].
inline std::vector<float> combined(const WeightShape& w, int64_t bases, const std::vector<float>& coefficients,
                                   const std::vector<float>& base) {
  std::vector<float> weight(w.groups * w.outputs * w.channels * w.taps);
  for (size_t i = 0; i < weight.size(); ++i) {
    double sum = 0;
    for (int64_t b = 0; b < bases; ++b)
      sum += double{coefficients[i / w.taps * bases + b]} * base[b * w.taps + i % w.taps];
    weight[i] = static_cast<float>(sum);
  }
  return weight;
}

inline std::vector<float> absolute(const float* values, int64_t count) {
  std::vector<float> result(count);
  for (int64_t i = 0; i < count; ++i) result[i] = std::abs(values[i]);
  return result;
}

struct Data {
  Data(const Problem& p, std::mt19937& random)
      : coefficients(testing::sparse_normal(random, count_of_coefficients(p), p.conv.density)),
        base(testing::normal(random, p.bases * p.conv.shape.weight.taps)),
        conv(p.conv, random) {
    conv.weight = combined(p.conv.shape.weight, p.bases, coefficients, base);
  }

  static int64_t count_of_coefficients(const Problem& p) {
    return p.conv.shape.output_channels() * p.conv.shape.weight.channels * p.bases;
  }

  // By definition, from the combined weight. Errors are proportional to the sum of all |coefficient * base * x|.
  sparse_conv::Reference expected(const Problem& p) const {
    const ConvShape& s = p.conv.shape;
    sparse_conv::Reference result = sparse_conv::reference(conv.weight, s, p.conv.finish, conv.tensors);
    const auto x = absolute(conv.tensors.x, s.batch * s.input_channels() * s.input_plane());
    const auto bias = absolute(conv.tensors.bias, s.output_channels());
    const auto residual = absolute(conv.tensors.residual, p.conv.residual ? result.y.size() : 0);
    const auto weight = combined(s.weight, p.bases, absolute(coefficients.data(), coefficients.size()),
                                 absolute(base.data(), base.size()));
    const sparse_conv::Tensors tensors = {x.data(), bias.data(), p.conv.residual ? residual.data() : nullptr, nullptr};
    result.magnitude = sparse_conv::reference(weight, s, {sparse_conv::Activation::none, 0, 0, 0}, tensors).y;
    return result;
  }

  std::vector<float> coefficients;
  std::vector<float> base;
  sparse_conv::Data conv;
};

// The weight packed as when a session is created, and all that a run for the shape at hand needs.
struct Prepared {
  // `expected` is the shape the weight is packed for.
  Prepared(const Kernel& kernel, const sparse_conv::Kernel& pointwise, const Problem& p, const Data& data,
           const ConvShape& expected)
      : stored(data.coefficients),
        weight(pack_weight(pointwise, expected, {p.bases, data.base.data(), stored.bitmap()})),
        shape_of_maps(basis_conv::shape_of_maps(p.conv.shape, p.bases)),
        plan(make_plan(pointwise, p.conv.shape, weight)),
        maps(kernel, pointwise, p.conv.shape, weight, plan, data.conv.tensors.x) {}

  testing::PackedWeight stored;
  Weight weight;
  ConvShape shape_of_maps;
  Plan plan;
  Maps maps;
};

}  // namespace onnxcomp::basis_conv
