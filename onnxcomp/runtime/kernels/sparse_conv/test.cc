// Every kernel this CPU can run, against the reference: shapes, strides, dilations, groups, paddings and epilogues.
#include <cmath>
#include <limits>
#include <string>

#include "cpu.h"
#include "kernels/sparse_conv/list.h"
#include "kernels/sparse_conv/problem.h"
#include "kernels/sparse_conv/reference.h"
#include "kernels/sparse_conv/threads.h"

namespace onnxcomp::sparse_conv {
namespace {

using testing::expect;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

void compare(const Kernel& kernel, const char* name, const Problem& p, const Data& data) {
  const Reference expected = reference(data.weight, p.shape, p.finish, data.tensors);
  // A sum of k + 2 terms rounds at most k + 2 times, each time by epsilon / 2 of what it has reached; every activation
  // here has a slope of at most 1.1, and its own arithmetic rounds a dozen times.
  const auto terms = static_cast<double>(p.shape.weight.channels * p.shape.weight.taps + 2);
  double worst = 0;
  int64_t wrong = 0;
  for (size_t i = 0; i < expected.y.size(); ++i) {
    const double allowed = kEpsilon * (1.1 * terms * expected.magnitude[i] / 2 + 12 * std::abs(expected.y[i]) + 1e-6);
    const double error = std::abs(data.tensors.y[i] - expected.y[i]);
    worst = std::max(worst, error / allowed);
    wrong += !(error <= allowed);
  }
  expect(wrong == 0, "%s, %s: %lld of %zu outputs wrong, worst %g times the tolerance", kernel.name, name,
         static_cast<long long>(wrong), expected.y.size(), worst);
}

// `expected` is the shape the weight is packed for.
void run_stored(const Kernel& kernel, const char* name, const Problem& p, const ConvShape& expected,
                std::mt19937& random) {
  const Data data(p, random);
  const Prepared prepared(kernel, p, data.weight, expected);
  const Run run(kernel, prepared.csr, p.shape, prepared.plan, p.finish, data.tensors, 1 + random() % 5);
  for (int64_t task = run.tasks() - 1; task >= 0; --task) expect(run.run(task), "%s: out of memory", name);
  compare(kernel, name, p, data);
}

// With the weight in single elements, and with about as many outputs in blocks of 4 and of 16.
void run(const Kernel& kernel, const char* name, const Problem& p, const ConvShape& expected, std::mt19937& random) {
  for (const int64_t height : {1, 4, 16}) {
    const auto in_blocks = [&](ConvShape shape) {
      shape.weight.outputs = (shape.weight.outputs + height - 1) / height * height;
      return shape;
    };
    Problem problem = p;
    problem.height = height;
    problem.shape = in_blocks(p.shape);
    run_stored(kernel, (std::string(name) + ", height " + std::to_string(height)).c_str(), problem, in_blocks(expected),
               random);
  }
}

WeightShape weight(int64_t groups, int64_t outputs, int64_t channels, int64_t taps) {
  return {groups, outputs, channels, taps};
}

struct NamedProblem {
  const char* name;
  Problem problem;
};

std::vector<NamedProblem> shapes() {
  const AxisShape flat = axis(1, 1, 1, 1, 0, 0);
  const auto same3 = [](int64_t size) { return axis(size, 3, 1, 1, 1, 1); };
  return {
      {"3x3, 14x14", {{1, weight(1, 8, 20, 9), same3(14), same3(14)}, 0.3}},
      {"3x3, 28x28, two blocks", {{1, weight(1, 24, 70, 9), same3(28), same3(28)}, 0.1}},
      {"3x3, 7x7, batch 3", {{3, weight(1, 40, 33, 9), same3(7), same3(7)}, 0.2}},
      {"3x3, 4x4", {{2, weight(1, 17, 64, 9), same3(4), same3(4)}, 0.5}},
      {"3x3, 2x2", {{1, weight(1, 5, 8, 9), same3(2), same3(2)}, 0.5}},
      {"3x3, 57x43", {{1, weight(1, 3, 5, 9), same3(57), same3(43)}, 0.5}},
      {"3x3, stride 2", {{1, weight(1, 9, 12, 9), axis(28, 3, 2, 1, 1, 1), axis(27, 3, 2, 1, 1, 0)}, 0.4}},
      {"3x3, strides 3 and 1", {{1, weight(1, 9, 12, 9), axis(28, 3, 3, 1, 0, 2), axis(31, 3, 1, 1, 2, 0)}, 0.4}},
      {"3x3, dilations 2 and 5", {{1, weight(1, 6, 7, 9), axis(30, 3, 1, 2, 2, 2), axis(40, 3, 1, 5, 5, 5)}, 0.6}},
      {"3x3, stride 2, dilation 3", {{1, weight(1, 6, 7, 9), axis(31, 3, 2, 3, 3, 3), axis(30, 3, 2, 3, 0, 1)}, 0.6}},
      {"3x3, stride 4, dilation 6", {{1, weight(1, 4, 3, 9), axis(41, 3, 4, 6, 3, 3), axis(50, 3, 4, 6, 0, 1)}, 0.8}},
      {"5x5, groups", {{1, weight(2, 12, 10, 25), axis(27, 5, 1, 1, 2, 2), axis(27, 5, 1, 1, 2, 2)}, 0.2}},
      {"11x11, stride 4", {{1, weight(1, 4, 3, 121), axis(63, 11, 4, 1, 0, 0), axis(63, 11, 4, 1, 0, 0)}, 0.5}},
      {"1x7", {{1, weight(1, 6, 9, 7), axis(13, 1, 1, 1, 0, 0), axis(17, 7, 1, 1, 3, 3)}, 0.5}},
      {"7x1", {{1, weight(1, 6, 9, 7), axis(13, 7, 1, 1, 3, 3), axis(17, 1, 1, 1, 0, 0)}, 0.5}},
      {"depthwise 3x3", {{2, weight(20, 1, 1, 9), same3(19), same3(19)}, 0.7}},
      {"depthwise multiplier 3", {{1, weight(6, 3, 1, 9), same3(10), axis(10, 3, 2, 1, 1, 1)}, 0.7}},
      {"kernel as large as the map", {{2, weight(1, 10, 6, 49), axis(7, 7, 1, 1, 0, 0), axis(7, 7, 1, 1, 0, 0)}, 0.3}},
      {"padding wider than the map", {{1, weight(1, 4, 2, 9), axis(3, 3, 1, 1, 9, 4), axis(2, 3, 2, 1, 0, 11)}, 0.9}},
      {"an input without rows", {{1, weight(1, 4, 2, 9), axis(0, 3, 1, 1, 2, 2), axis(5, 3, 1, 1, 1, 1)}, 0.9}},
      {"1-D, kernel 3", {{2, weight(1, 8, 16, 3), flat, axis(101, 3, 1, 1, 1, 1)}, 0.3}},
      {"1-D, kernel 400, stride 160", {{1, weight(1, 5, 1, 400), flat, axis(4000, 400, 160, 1, 200, 200)}, 0.3}},
      {"1x1, 14x14", {{2, weight(1, 30, 80, 1), axis(14, 1, 1, 1, 0, 0), axis(14, 1, 1, 1, 0, 0)}, 0.2}},
      {"1x1, 28x28, several blocks",
       {{1, weight(1, 20, 300, 1), axis(28, 1, 1, 1, 0, 0), axis(28, 1, 1, 1, 0, 0)}, 0.1}},
      {"1x1, 7x7, groups", {{3, weight(4, 6, 5, 1), axis(7, 1, 1, 1, 0, 0), axis(7, 1, 1, 1, 0, 0)}, 0.5}},
      {"1x1, one pixel", {{5, weight(1, 9, 40, 1), axis(1, 1, 1, 1, 0, 0), axis(1, 1, 1, 1, 0, 0)}, 0.5}},
      {"1x1, stride 2", {{1, weight(1, 9, 40, 1), axis(15, 1, 2, 1, 0, 0), axis(14, 1, 2, 1, 0, 0)}, 0.3}},
      {"1x1, padded", {{1, weight(1, 9, 10, 1), axis(8, 1, 1, 1, 1, 0), axis(8, 1, 1, 1, 0, 2)}, 0.3}},
      {"no nonzero at all", {{1, weight(1, 40, 64, 9), same3(14), same3(14)}, 0.0}},
      {"nothing but nonzeros", {{1, weight(1, 9, 17, 9), same3(12), same3(12)}, 1.0}},
      {"unaligned tensors",
       {{1, weight(1, 9, 32, 1), axis(16, 1, 1, 1, 0, 0), axis(16, 1, 1, 1, 0, 0)},
        0.5,
        true,
        {Activation::relu, 0, kInfinity, 0},
        3}},
  };
}

std::vector<Finish> finishes() {
  return {
      {Activation::none, 0, 0, 0},          {Activation::relu, 0, kInfinity, 0}, {Activation::clip, -0.5f, 1.25f, 0},
      {Activation::leaky_relu, 0, 0, 0.1f}, {Activation::sigmoid, 0, 0, 0},      {Activation::hard_swish, 0, 0, 0},
      {Activation::silu, 0, 0, 0},
  };
}

void test_shapes(const Kernel& kernel, std::mt19937& random) {
  for (const NamedProblem& p : shapes()) run(kernel, p.name, p.problem, p.problem.shape, random);
}

void test_finishes(const Kernel& kernel, std::mt19937& random) {
  for (const NamedProblem& p : shapes()) {
    if (p.problem.shape.output_plane() > 200) continue;
    for (const bool residual : {false, true}) {
      for (const Finish& finish : finishes()) {
        Problem problem = p.problem;
        problem.residual = residual;
        problem.finish = finish;
        run(kernel, p.name, problem, problem.shape, random);
      }
    }
  }
}

// An output that no cache holds is written past them.
void test_large_output(const Kernel& kernel, std::mt19937& random) {
  const AxisShape side = axis(256, 1, 1, 1, 0, 0);
  const int64_t outputs = machine().l3_bytes / 4 / (side.output * side.output * 4) + 1;
  const Problem p{{1, weight(1, outputs, 6, 1), side, side}, 0.3, true};
  run(kernel, "large output", p, p.shape, random);
}

// A model with open sizes is packed for one shape and run with others.
void test_other_sizes(const Kernel& kernel, std::mt19937& random) {
  const auto at = [](int64_t height, int64_t width) {
    return ConvShape{2, weight(1, 20, 50, 9), axis(height, 3, 1, 1, 1, 1), axis(width, 3, 2, 1, 1, 1)};
  };
  for (const int64_t height : {1, 5, 16, 33}) {
    for (const int64_t width : {1, 7, 16, 65})
      run(kernel, "another size", {at(height, width), 0.3}, at(28, 28), random);
  }
}

// Random tiles and sizes: what a list of cases forgets.
void test_random_shapes(const Kernel& kernel, std::mt19937& random) {
  const auto pick = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  for (int i = 0; i < 60; ++i) {
    const auto any_axis = [&] {
      const int64_t kernel_size = pick(1, 5);
      const int64_t dilation = pick(1, 3);
      const int64_t least = (kernel_size - 1) * dilation + 1;
      return axis(least + pick(0, 40), kernel_size, pick(1, 4), dilation, pick(0, 3), pick(0, 3));
    };
    Problem p{{pick(1, 2), {}, any_axis(), any_axis()}, pick(0, 10) / 10.0};
    p.shape.weight = weight(pick(1, 3), pick(1, 12), pick(1, 24), p.shape.y.kernel * p.shape.x.kernel);
    p.residual = pick(0, 1) == 1;
    p.misalignment = pick(0, 5);
    run(kernel, "random shape", p, p.shape, random);
  }
}

// Not-a-number goes through sums, bounds and activations; infinities give the activations' limits.
void test_special_values(const Kernel& kernel) {
  alignas(64) float values[16];
  const auto apply = [&](Activation activation, float x) {
    std::fill(std::begin(values), std::end(values), x);
    kernel.finish({activation, -1, 1, 0.5f}, nullptr, values, 16);
    return values[kernel.lanes - 1];
  };
  for (const Finish& finish : finishes()) {
    const bool kept = finish.activation == Activation::none || std::isnan(apply(finish.activation, NAN));
    expect(kept, "%s: activation %d loses NaN", kernel.name, static_cast<int>(finish.activation));
  }
  expect(apply(Activation::sigmoid, kInfinity) == 1, "%s: sigmoid(inf)", kernel.name);
  expect(apply(Activation::sigmoid, -kInfinity) == 0, "%s: sigmoid(-inf)", kernel.name);
  expect(apply(Activation::silu, -1e30f) == 0, "%s: silu(-1e30)", kernel.name);
  expect(apply(Activation::silu, 1e30f) == 1e30f, "%s: silu(1e30)", kernel.name);
  for (float x = -90; x < 90; x += 0.37f) {
    const double expected = 1 / (1 + std::exp(-double{x}));
    const double got = apply(Activation::sigmoid, x);
    expect(std::abs(got - expected) <= 8 * kEpsilon * expected + 1e-38, "%s: sigmoid(%g) = %g", kernel.name, double{x},
           got);
  }
}

void test_threads() {
  Threads threads(4);
  for (int i = 0; i < 8; ++i) {
    expect(threads.expected() == 4, "a pool is not given up after %d runs", i);
    threads.record(false);
  }
  int64_t tried = 0;
  for (int i = 0; i < 1000; ++i) {
    tried += threads.expected() == 4;
    threads.record(false);
  }
  expect(tried > 8 && tried < 100, "the pool was tried again in %lld of 1000 runs", static_cast<long long>(tried));
  threads.record(true);
  for (int i = 0; i < 1000; ++i) {
    expect(threads.expected() == 4, "a pool that was seen is forgotten after %d runs", i);
    threads.record(false);
  }
}

void test(const Kernel& kernel, unsigned seed) {
  std::mt19937 random(seed);
  test_shapes(kernel, random);
  test_finishes(kernel, random);
  test_large_output(kernel, random);
  test_other_sizes(kernel, random);
  test_random_shapes(kernel, random);
  test_special_values(kernel);
}

}  // namespace
}  // namespace onnxcomp::sparse_conv

int main() {
  using namespace onnxcomp;
  constexpr unsigned kSeed = 20;
  std::printf("seed %u\n", kSeed);
  sparse_conv::test_threads();
#define ONNXCOMP_TEST(isa)                               \
  if (detected_isa() >= Isa::isa) {                      \
    std::printf("%s\n", sparse_conv::isa##_kernel.name); \
    sparse_conv::test(sparse_conv::isa##_kernel, kSeed); \
  }
  ONNXCOMP_SPARSE_CONV_KERNELS(ONNXCOMP_TEST)
  return testing::verdict();
}
