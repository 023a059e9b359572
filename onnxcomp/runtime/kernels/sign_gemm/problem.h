// A fully connected layer in blocks of one magnitude with random data, for the test and the benchmark.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/sign_gemm/dispatch.h"
#include "kernels/sign_gemm/run.h"
#include "kernels/sparse_conv/dispatch.h"
#include "testing.h"

namespace onnxcomp::sign_gemm {

struct Problem {
  int64_t rows;     // M
  int64_t outputs;  // N, a multiple of 4
  int64_t columns;  // K, a multiple of 4
  double zero = 0;  // share of the blocks
  bool half = true;  // scales are such that float16 holds them
  sparse_conv::Finish finish = {sparse_conv::Activation::none, 0, 0, 0};
};

inline std::vector<float> random_matrix(const Problem& p, std::mt19937& random) {
  std::vector<float> weight(p.outputs * p.columns);
  std::uniform_int_distribution<int> steps(1, 1023);
  std::bernoulli_distribution is_zero(p.zero);
  std::bernoulli_distribution is_negative;
  for (int64_t output = 0; output < p.outputs; output += kSignBlock) {
    for (int64_t column = 0; column < p.columns; column += kQuad) {
      const float step = p.half ? 0x1p-10f : 1.1e-3f;
      const float scale = is_zero(random) ? 0 : static_cast<float>(steps(random)) * step;
      for (int64_t i = 0; i < kSignBlock * kQuad; ++i)
        weight[(output + i / kQuad) * p.columns + column + i % kQuad] = is_negative(random) ? -scale : scale;
    }
  }
  return weight;
}

struct Data {
  Data(const Problem& p, std::mt19937& random)
      : weight(random_matrix(p, random)),
        x(testing::normal(random, p.rows * p.columns)),
        bias(testing::normal(random, p.outputs)),
        y(p.rows * p.outputs, 1e30f),
        tensors{p.rows, x.data(), bias.data(), y.data()} {}

  std::vector<float> weight;
  std::vector<float> x;
  std::vector<float> bias;
  std::vector<float> y;
  sparse_gemm::Tensors tensors;
};

inline std::optional<SignPanels> pack(const Kernel& kernel, const Problem& p, const Data& data) {
  const testing::DenseRows matrix(data.weight, p.columns);
  return pack_sign_panels(matrix, p.outputs, p.columns, kernel.lanes, kernel.multiply_half != nullptr);
}

}  // namespace onnxcomp::sign_gemm
