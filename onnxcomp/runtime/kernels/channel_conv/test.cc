// Every kernel this CPU can run, in both structures, against the reference: shapes, strides, dilations, groups,
// paddings and epilogues.
#include <cmath>
#include <limits>

#include "cpu.h"
#include "kernels/channel_conv/dispatch.h"
#include "kernels/channel_conv/list.h"
#include "kernels/channel_conv/pixel_run.h"
#include "kernels/channel_conv/problem.h"
#include "kernels/sparse_conv/reference.h"

namespace onnxcomp::channel_conv {
namespace {

using sparse_conv::Activation;
using sparse_conv::AxisShape;
using sparse_conv::axis;
using testing::expect;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

void compare(const Kernel& kernel, const char* name, const Problem& p, const Data& data) {
  const sparse_conv::Reference expected = sparse_conv::reference(data.weight, p.shape, p.finish, data.tensors);
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

template <class AnyRun>
void run_tasks(const AnyRun& run, const char* name) {
  for (int64_t task = run.tasks() - 1; task >= 0; --task) expect(run.run(task), "%s: out of memory", name);
}

// `expected` is the shape the weight is packed for.
void run(const Kernel& kernel, const char* name, const Problem& p, const ConvShape& expected, std::mt19937& random) {
  const WeightShape& shape = p.shape.weight;
  for (const std::optional<int64_t> kept : {std::optional<int64_t>{}, {1}, {2}, {5}}) {
    if (!kept && shape.outputs % kChannels != 0) continue;
    Data data(p, random);
    data.weight = testing::normal(random, static_cast<int64_t>(data.weight.size()));
    if (kept) {
      prune_windows(data.weight, shape, *kept, random);
    } else {
      testing::prune_blocks(data.weight, kChannels, shape.channels * shape.taps, p.density, random);
    }
    const Weight weight = pack(data.weight, expected, kept);
    const Plan plan = make_plan(p.shape, weight);
    const auto finish = sparse_conv::kernel_for(detected_isa()).finish;
    const auto threads = static_cast<int64_t>(1 + random() % 5);
    run_tasks(Run(kernel, finish, weight, p.shape, plan, p.finish, data.tensors, threads), name);
    compare(kernel, name, p, data);
    if (weight.blocks() == nullptr || weight.blocks()->blocks != 1 || !p.shape.pointwise()) continue;
    std::fill_n(data.tensors.y, Data::outputs(p), 1e30f);
    run_tasks(PixelRun(kernel, finish, *weight.blocks(), p.shape, plan, p.finish, data.tensors, threads), name);
    compare(kernel, name, p, data);
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
  const auto same1 = [](int64_t size) { return axis(size, 1, 1, 1, 0, 0); };
  return {
      {"3x3, 14x14", {{1, weight(1, 16, 20, 9), same3(14), same3(14)}, 0.3}},
      {"3x3, 28x28, several blocks", {{1, weight(1, 32, 350, 9), same3(28), same3(28)}, 0.1}},
      {"3x3, 7x7, batch 3", {{3, weight(1, 48, 33, 9), same3(7), same3(7)}, 0.2}},
      {"3x3, 4x4", {{2, weight(1, 16, 64, 9), same3(4), same3(4)}, 0.5}},
      {"3x3, 2x2", {{1, weight(1, 32, 8, 9), same3(2), same3(2)}, 0.5}},
      {"3x3, 57x43, 3 channels", {{1, weight(1, 16, 3, 9), same3(57), same3(43)}, 0.5}},
      {"3x3, 100x500, in strips", {{1, weight(1, 16, 200, 9), same3(12), same3(500)}, 0.2}},
      {"3x3, stride 2", {{1, weight(1, 9, 12, 9), axis(28, 3, 2, 1, 1, 1), axis(27, 3, 2, 1, 1, 0)}, 0.4}},
      {"3x3, strides 3 and 1", {{1, weight(1, 16, 12, 9), axis(28, 3, 3, 1, 0, 2), axis(31, 3, 1, 1, 2, 0)}, 0.4}},
      {"3x3, stride 2, dilation 3", {{1, weight(1, 16, 7, 9), axis(31, 3, 2, 3, 3, 3), axis(30, 3, 2, 3, 0, 1)}, 0.6}},
      {"5x5, groups", {{1, weight(2, 16, 10, 25), axis(27, 5, 1, 1, 2, 2), axis(27, 5, 1, 1, 2, 2)}, 0.2}},
      {"11x11, stride 4", {{1, weight(1, 16, 3, 121), axis(63, 11, 4, 1, 0, 0), axis(63, 11, 4, 1, 0, 0)}, 0.5}},
      {"kernel as large as the map", {{2, weight(1, 16, 6, 49), axis(7, 7, 1, 1, 0, 0), axis(7, 7, 1, 1, 0, 0)}, 0.3}},
      {"padding wider than the map", {{1, weight(1, 16, 2, 9), axis(3, 3, 1, 1, 9, 4), axis(2, 3, 2, 1, 0, 11)}, 0.9}},
      {"an input without rows", {{1, weight(1, 16, 2, 9), axis(0, 3, 1, 1, 2, 2), axis(5, 3, 1, 1, 1, 1)}, 0.9}},
      {"1-D, kernel 3", {{2, weight(1, 16, 18, 3), flat, axis(101, 3, 1, 1, 1, 1)}, 0.3}},
      {"1x1, 14x14", {{2, weight(1, 32, 80, 1), same1(14), same1(14)}, 0.2}},
      {"1x1, 28x28, several blocks", {{1, weight(1, 16, 1000, 1), same1(28), same1(28)}, 0.1}},
      {"1x1, 7x7, groups", {{3, weight(4, 16, 5, 1), same1(7), same1(7)}, 0.5}},
      {"1x1, 31 pixels, groups", {{2, weight(2, 32, 20, 1), same1(1), same1(31)}, 0.3}},
      {"1x1, one pixel", {{5, weight(1, 32, 40, 1), same1(1), same1(1)}, 0.5}},
      {"1x1, stride 2", {{1, weight(1, 16, 40, 1), axis(15, 1, 2, 1, 0, 0), axis(14, 1, 2, 1, 0, 0)}, 0.3}},
      {"no block at all", {{1, weight(1, 48, 64, 9), same3(14), same3(14)}, 0.0}},
      {"nothing but blocks", {{1, weight(1, 16, 17, 9), same3(12), same3(12)}, 1.0}},
      {"unaligned tensors",
       {{1, weight(1, 16, 32, 1), same1(16), same1(16)}, 0.5, true, {Activation::relu, 0, kInfinity, 0}, 3}},
  };
}

std::vector<Finish> finishes() {
  return {
      {Activation::none, 0, 0, 0},          {Activation::relu, 0, kInfinity, 0}, {Activation::clip, -0.5f, 1.25f, 0},
      {Activation::leaky_relu, 0, 0, 0.1f}, {Activation::sigmoid, 0, 0, 0},      {Activation::silu, 0, 0, 0},
  };
}

void test_shapes(const Kernel& kernel, std::mt19937& random) {
  for (const NamedProblem& p : shapes()) run(kernel, p.name, p.problem, p.problem.shape, random);
}

void test_finishes(const Kernel& kernel, std::mt19937& random) {
  for (const NamedProblem& p : shapes()) {
    if (p.problem.shape.output_plane() > 100) continue;
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

// A model with open sizes is packed for one shape and run with others.
void test_other_sizes(const Kernel& kernel, std::mt19937& random) {
  const auto at = [](int64_t height, int64_t width) {
    return ConvShape{2, weight(1, 16, 50, 9), axis(height, 3, 1, 1, 1, 1), axis(width, 3, 2, 1, 1, 1)};
  };
  for (const int64_t height : {1, 5, 16}) {
    for (const int64_t width : {1, 7, 65}) run(kernel, "another size", {at(height, width), 0.3}, at(28, 28), random);
  }
}

// Every tile, at every distance from the map's edges: what a list of cases forgets.
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
    Problem p{{pick(1, 2), {}, any_axis(), any_axis()}, static_cast<double>(pick(0, 10)) / 10.0};
    p.shape.weight = weight(pick(1, 3), pick(0, 1) == 0 ? 16 : pick(1, 20), pick(1, 40),
                            p.shape.y.kernel * p.shape.x.kernel);
    p.residual = pick(0, 1) == 1;
    p.misalignment = pick(0, 5);
    run(kernel, "random shape", p, p.shape, random);
  }
}

}  // namespace

void test(const Kernel& kernel, unsigned seed) {
  std::mt19937 random(seed);
  test_shapes(kernel, random);
  test_finishes(kernel, random);
  test_other_sizes(kernel, random);
  test_random_shapes(kernel, random);
}

}  // namespace onnxcomp::channel_conv

int main() {
  using namespace onnxcomp;
  constexpr unsigned kSeed = 21;
  std::printf("seed %u\n", kSeed);
#define ONNXCOMP_TEST(isa)                                 \
  if (detected_isa() >= Isa::isa) {                        \
    std::printf("%s\n", channel_conv::isa##_kernel.name);  \
    channel_conv::test(channel_conv::isa##_kernel, kSeed); \
  }
  ONNXCOMP_CHANNEL_CONV_KERNELS(ONNXCOMP_TEST)
  testing::expect(channel_conv::kernel_for(Isa::portable) == nullptr, "portable code runs element by element");
  return testing::verdict();
}
