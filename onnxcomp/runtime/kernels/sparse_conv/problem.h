// A convolution with random data, for the test and the benchmark, run through the production packer and planner.
#pragma once

#include <cstdlib>
#include <memory>
#include <vector>

#include "kernels/sparse_conv/run.h"
#include "testing.h"

namespace onnxcomp::sparse_conv {

struct Problem {
  ConvShape shape;
  double density;
  bool residual = false;
  Finish finish = {Activation::none, 0, 0, 0};
  int64_t misalignment = 0;  // floats that X, Y and Z are off a 64-byte boundary
  int64_t height = 1;        // of the weight's blocks, which divides the outputs of a group
};

// An axis as a node gives it, with `after` elements of padding behind the input.
inline AxisShape axis(int64_t input, int64_t kernel, int64_t stride, int64_t dilation, int64_t before, int64_t after) {
  return {input, (input + before + after - (kernel - 1) * dilation - 1) / stride + 1, kernel, stride, dilation, before};
}

// Floats at a given distance from a 64-byte boundary.
class Buffer {
 public:
  Buffer(const std::vector<float>& values, int64_t misalignment)
      : memory_(static_cast<float*>(std::aligned_alloc(64, (values.size() + misalignment + 16) / 16 * 64)), std::free),
        data_(memory_.get() + misalignment) {
    std::copy(values.begin(), values.end(), data_);
  }
  float* data() const { return data_; }

 private:
  std::unique_ptr<float, void (*)(void*)> memory_;
  float* data_;
};

struct Data {
  Data(const Problem& p, std::mt19937& random)
      : weight(testing::normal(random, p.shape.output_channels() * columns(p))),
        x(testing::normal(random, p.shape.batch * p.shape.input_channels() * p.shape.input_plane()), p.misalignment),
        bias(testing::normal(random, p.shape.output_channels()), 0),
        residual(testing::normal(random, p.residual ? outputs(p) : 0), p.misalignment),
        y(std::vector<float>(outputs(p), 1e30f), p.misalignment),
        tensors{x.data(), bias.data(), p.residual ? residual.data() : nullptr, y.data()} {
    testing::prune_blocks(weight, p.height, columns(p), p.density, random);
  }

  static int64_t columns(const Problem& p) { return p.shape.weight.channels * p.shape.weight.taps; }
  static int64_t outputs(const Problem& p) {
    return p.shape.batch * p.shape.output_channels() * p.shape.output_plane();
  }

  std::vector<float> weight;
  Buffer x;
  Buffer bias;
  Buffer residual;
  Buffer y;
  Tensors tensors;
};

// The weight packed as when a session is created, and the plan for the shape at hand.
struct Prepared {
  Prepared(const Kernel& kernel, const Problem& p, const std::vector<float>& weight, const ConvShape& expected) {
    const testing::StoredBlocks stored(weight, p.height, Data::columns(p));
    const int64_t block = choose_block(kernel, expected, entries_of(stored.bitmap()));
    csr = pack_blocked_csr(stored.bitmap(), p.shape.weight, block);
    plan = make_plan(kernel, p.shape, csr);
  }
  BlockedCsr csr;
  Plan plan;
};

}  // namespace onnxcomp::sparse_conv
