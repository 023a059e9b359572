// Every kernel this CPU can run, against the reference: weights in blocks of all kinds, shapes, groups, last stages.
#include <limits>

#include "cpu.h"
#include "kernels/sparse_conv/list.h"
#include "kernels/unified_conv/problem.h"

namespace onnxcomp::unified_conv {
namespace {

using sparse_conv::Activation;
using sparse_conv::axis;
using sparse_conv::AxisShape;
using sparse_conv::Kernel;
using testing::expect;

constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

void compare(const char* kernel, const char* name, const Problem& p, const Data& data) {
  const sparse_conv::Reference expected = data.expected(p);
  // An output's products, each of a rounded weight and a sum of three additions; bias and residual.
  const auto roundings = static_cast<double>(p.conv.shape.weight.channels * p.conv.shape.weight.taps + 8);
  double worst = 0;
  int64_t wrong = 0;
  for (size_t i = 0; i < expected.y.size(); ++i) {
    const double allowed = kEpsilon * (roundings * expected.magnitude[i] / 2 + 1e-6);
    const double error = std::abs(data.conv.tensors.y[i] - expected.y[i]);
    worst = std::max(worst, error / allowed);
    wrong += !(error <= allowed);
  }
  expect(wrong == 0, "%s, %s, blocks of %lldx%lld: %lld of %zu outputs wrong, worst %g times the tolerance", kernel,
         name, static_cast<long long>(p.outputs), static_cast<long long>(p.channels), static_cast<long long>(wrong),
         expected.y.size(), worst);
}

// Whether the weight was rewritten with sums.
bool run(const Kernel& kernel, const char* name, const Problem& p, const ConvShape& expected,
            std::mt19937& random) {
  const Data data(p, random);
  const Prepared prepared(kernel, p, data, expected);
  const sparse_conv::Run run(kernel, prepared.weight, p.conv.shape, prepared.plan, p.conv.finish, data.conv.tensors,
                             1 + random() % 5);
  for (int64_t task = run.tasks() - 1; task >= 0; --task) expect(run.run(task), "%s: out of memory", name);
  compare(kernel.name, name, p, data);
  return prepared.weight.sums;
}

struct NamedShape {
  const char* name;
  ConvShape shape;
};

std::vector<NamedShape> shapes() {
  const AxisShape flat = axis(1, 1, 1, 1, 0, 0);
  const auto same3 = [](int64_t size) { return axis(size, 3, 1, 1, 1, 1); };
  return {
      {"3x3, 14x14", {1, {1, 32, 20, 9}, same3(14), same3(14)}},
      {"3x3, 28x28, several blocks", {1, {1, 48, 100, 9}, same3(28), same3(28)}},
      {"3x3, 7x7, batch 3", {3, {1, 40, 33, 9}, same3(7), same3(7)}},
      {"3x3, 57x43, groups of 6 channels", {2, {2, 8, 6, 9}, same3(57), same3(43)}},
      {"3x3, stride 2", {1, {1, 32, 12, 9}, axis(28, 3, 2, 1, 1, 1), axis(27, 3, 2, 1, 1, 0)}},
      {"5x5, dilation 2", {1, {1, 16, 12, 25}, axis(20, 5, 1, 2, 4, 4), axis(30, 5, 1, 2, 4, 4)}},
      {"depthwise", {2, {20, 1, 1, 9}, same3(19), same3(19)}},
      {"1-D", {2, {1, 32, 16, 3}, flat, axis(101, 3, 1, 1, 1, 1)}},
      {"1-D, kernel 6,000", {1, {1, 8, 4, 6000}, flat, axis(6010, 6000, 1, 1, 0, 0)}},
      {"1x1", {1, {1, 32, 40, 1}, axis(15, 1, 1, 1, 0, 0), axis(14, 1, 1, 1, 0, 0)}},
      {"1x1, whole vectors", {2, {1, 32, 22, 1}, axis(16, 1, 1, 1, 0, 0), axis(16, 1, 1, 1, 0, 0)}},
      {"1x1, stride 2", {1, {1, 32, 18, 1}, axis(15, 1, 2, 1, 0, 0), axis(27, 1, 2, 1, 0, 0)}},
      {"1x1, one pixel", {5, {1, 32, 18, 1}, flat, flat}},
  };
}

void test_shapes(const Kernel& kernel, std::mt19937& random) {
  for (const NamedShape& s : shapes()) {
    for (const double zero : {0.0, 0.7}) {
      Problem p{{s.shape, 1}};
      p.zero = zero;
      run(kernel, s.name, p, s.shape, random);
      p.free = 0.2;
      p.conv.residual = true;
      p.conv.finish = {Activation::clip, -0.5f, 1.25f, 0};
      p.conv.misalignment = 3;
      run(kernel, s.name, p, s.shape, random);
    }
  }
}

void test_blocks(const Kernel& kernel, std::mt19937& random) {
  const NamedShape s = shapes()[0];
  for (const auto& [outputs, channels] : {std::pair{8, 1}, {1, 8}, {4, 1}, {16, 1}, {8, 8}, {4, 4}, {1, 2}}) {
    for (const std::vector<float>& levels : {std::vector<float>{1, -1}, {1, -1, 0}, {1, -1, 0.5f, -0.5f, 0}}) {
      for (const double free : {0.0, 0.3, 1.0})
        run(kernel, s.name, {{s.shape, 1}, outputs, channels, levels, 0.2, free}, s.shape, random);
    }
  }
}

// What a weight is rewritten as depends on what it holds.
void test_ways(const Kernel& kernel, std::mt19937& random) {
  const NamedShape s = shapes()[1];
  const auto sums = [&](double zero, double free) {
    return run(kernel, s.name, {{s.shape, 1}, 4, 4, {1, -1}, zero, free}, s.shape, random);
  };
  expect(sums(0, 0), "%s: blocks of one magnitude are multiplied with sums", kernel.name);
  expect(sums(0.5, 0.1), "%s: some blocks are zero, some free", kernel.name);
  expect(!sums(0, 1), "%s: no magnitudes are shared", kernel.name);
  expect(!sums(1, 0), "%s: nothing is to be multiplied", kernel.name);
}

// A model with open sizes is packed for one shape and run with others.
void test_other_sizes(const Kernel& kernel, std::mt19937& random) {
  const auto at = [](int64_t height, int64_t width, int64_t taps) {
    const auto along = [&](int64_t size) { return axis(size, taps, 1, 1, taps / 2, taps / 2); };
    return ConvShape{2, {1, 20, 50, taps * taps}, along(height), along(width)};
  };
  for (const int64_t height : {1, 5, 33}) {
    for (const int64_t width : {1, 65}) {
      for (const int64_t taps : {1, 3})
        run(kernel, "another size", {{at(height, width, taps), 1}}, at(28, 28, taps), random);
    }
  }
}

// An infinite weight's half is no smaller.
void test_infinite_weights(const Kernel& kernel, std::mt19937& random) {
  Problem p{{shapes()[1].shape, 1}};
  p.levels = {std::numeric_limits<float>::infinity(), -1};
  const Data data(p, random);
  expect(Prepared(kernel, p, data, p.conv.shape).weight.sums == false, "%s: infinite weights", kernel.name);
}

void test(const Kernel& kernel, unsigned seed) {
  std::mt19937 random(seed);
  test_shapes(kernel, random);
  test_blocks(kernel, random);
  test_ways(kernel, random);
  test_other_sizes(kernel, random);
  test_infinite_weights(kernel, random);
}

}  // namespace
}  // namespace onnxcomp::unified_conv

int main() {
  using namespace onnxcomp;
  constexpr unsigned kSeed = 20;
  std::printf("seed %u\n", kSeed);
#define ONNXCOMP_TEST(isa)                                 \
  if (detected_isa() >= Isa::isa) {                        \
    std::printf("%s\n", sparse_conv::isa##_kernel.name);   \
    unified_conv::test(sparse_conv::isa##_kernel, kSeed);  \
  }
  ONNXCOMP_SPARSE_CONV_KERNELS(ONNXCOMP_TEST)
  return testing::verdict();
}
