// Every kernel this CPU can run, against the reference: shapes, strides, dilations, groups, paddings, numbers of bases.
#include <limits>

#include "cpu.h"
#include "kernels/basis_conv/list.h"
#include "kernels/basis_conv/problem.h"
#include "kernels/sparse_conv/list.h"

namespace onnxcomp::basis_conv {
namespace {

using sparse_conv::Activation;
using sparse_conv::axis;
using sparse_conv::AxisShape;
using testing::expect;

constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

struct Kernels {
  const Kernel& maps;
  const sparse_conv::Kernel& pointwise;
};

void compare(const char* kernel, const char* name, const Problem& p, const Data& data) {
  const sparse_conv::Reference expected = data.expected(p);
  // Each product rounds in a map's sum of taps, in the reference's weight, and in the sum of all maps.
  const WeightShape& w = p.conv.shape.weight;
  const auto roundings = static_cast<double>(w.taps + w.channels * p.bases + 5);
  double worst = 0;
  int64_t wrong = 0;
  for (size_t i = 0; i < expected.y.size(); ++i) {
    const double allowed = kEpsilon * (roundings * expected.magnitude[i] / 2 + 1e-6);
    const double error = std::abs(data.conv.tensors.y[i] - expected.y[i]);
    worst = std::max(worst, error / allowed);
    wrong += !(error <= allowed);
  }
  expect(wrong == 0, "%s, %s, %lld bases: %lld of %zu outputs wrong, worst %g times the tolerance", kernel, name,
         static_cast<long long>(p.bases), static_cast<long long>(wrong), expected.y.size(), worst);
}

void run(const Kernels& kernels, const char* name, const Problem& p, const ConvShape& expected, std::mt19937& random) {
  const Data data(p, random);
  const Prepared prepared(kernels.maps, kernels.pointwise, p, data, expected);
  const sparse_conv::Run run(kernels.pointwise, prepared.weight.coefficients, prepared.shape_of_maps,
                             prepared.plan.pointwise, p.conv.finish, data.conv.tensors, 1 + random() % 5,
                             &prepared.maps);
  for (int64_t task = run.tasks() - 1; task >= 0; --task) expect(run.run(task), "%s: out of memory", name);
  compare(kernels.maps.name, name, p, data);
}

struct NamedShape {
  const char* name;
  ConvShape shape;
};

std::vector<NamedShape> shapes() {
  const AxisShape flat = axis(1, 1, 1, 1, 0, 0);
  const auto same3 = [](int64_t size) { return axis(size, 3, 1, 1, 1, 1); };
  return {
      {"3x3, 14x14", {1, {1, 8, 20, 9}, same3(14), same3(14)}},
      {"3x3, 28x28, several blocks", {1, {1, 24, 200, 9}, same3(28), same3(28)}},
      {"3x3, 7x7, batch 3", {3, {1, 40, 33, 9}, same3(7), same3(7)}},
      {"3x3, 2x2", {1, {1, 5, 8, 9}, same3(2), same3(2)}},
      {"3x3, 57x43, groups", {2, {2, 3, 5, 9}, same3(57), same3(43)}},
      {"3x3, rows added", {1, {1, 6, 7, 9}, axis(9, 3, 1, 1, 2, 3), same3(12)}},
      {"3x3, columns shifted", {1, {1, 6, 7, 9}, same3(9), axis(12, 3, 1, 1, 0, 2)}},
      {"3x3, dilations 2 and 5", {1, {1, 6, 7, 9}, axis(30, 3, 1, 2, 2, 2), axis(40, 3, 1, 5, 5, 5)}},
      {"3x3, not padded", {1, {1, 6, 7, 9}, axis(14, 3, 1, 1, 0, 0), axis(17, 3, 1, 1, 0, 0)}},
      {"3x3, stride 2, even sizes", {2, {1, 9, 12, 9}, axis(28, 3, 2, 1, 1, 0), axis(32, 3, 2, 1, 1, 0)}},
      {"3x3, stride 2, wide", {1, {1, 5, 6, 9}, axis(14, 3, 2, 1, 1, 1), axis(224, 3, 2, 1, 1, 1)}},
      {"3x3, stride 2, one row", {1, {1, 5, 6, 9}, axis(1, 3, 2, 1, 1, 1), axis(12, 3, 2, 1, 1, 1)}},
      {"5x5, stride 3, dilation 2", {1, {1, 5, 6, 25}, axis(30, 5, 3, 2, 4, 4), axis(30, 5, 3, 2, 4, 4)}},
      {"3x3, strides 2 and 1", {1, {1, 5, 6, 9}, axis(17, 3, 2, 1, 1, 1), axis(15, 3, 1, 1, 1, 1)}},
      {"3x3, stride 2, far apart", {1, {1, 5, 6, 9}, axis(40, 3, 2, 700, 700, 700), axis(14, 3, 2, 1, 1, 1)}},
      {"2x2, stride 2", {1, {2, 5, 6, 4}, axis(20, 2, 2, 1, 0, 0), axis(22, 2, 2, 1, 0, 0)}},
      {"3x3, stride 2", {1, {1, 9, 12, 9}, axis(28, 3, 2, 1, 1, 1), axis(27, 3, 2, 1, 1, 0)}},
      {"3x3, strides 3 and 1", {2, {1, 9, 12, 9}, axis(28, 3, 3, 1, 0, 2), axis(31, 3, 1, 1, 2, 0)}},
      {"3x3, stride 4, dilation 6", {1, {1, 4, 3, 9}, axis(41, 3, 4, 6, 3, 3), axis(50, 3, 4, 6, 0, 1)}},
      {"5x5, groups", {1, {2, 12, 10, 25}, axis(27, 5, 1, 1, 2, 2), axis(27, 5, 1, 1, 2, 2)}},
      {"9x9", {1, {1, 12, 5, 81}, axis(15, 9, 1, 1, 4, 4), axis(15, 9, 1, 1, 4, 4)}},
      {"depthwise", {2, {20, 1, 1, 9}, same3(19), same3(19)}},
      {"1-D", {2, {1, 8, 16, 3}, flat, axis(101, 3, 1, 1, 1, 1)}},
      {"1-D, kernel 400, stride 160", {1, {1, 5, 1, 400}, flat, axis(4000, 400, 160, 1, 200, 200)}},
      {"1x1", {1, {1, 9, 40, 1}, axis(15, 1, 1, 1, 0, 0), axis(14, 1, 1, 1, 0, 0)}},
      {"padding wider than the map", {1, {1, 4, 2, 9}, axis(3, 3, 1, 1, 9, 4), axis(2, 3, 2, 1, 0, 11)}},
      {"an input without rows", {1, {1, 4, 2, 9}, axis(0, 3, 1, 1, 2, 2), axis(5, 3, 1, 1, 1, 1)}},
      {"one row of the padding", {1, {1, 4, 2, 9}, axis(4, 3, 1, 1, 9, 0), axis(5, 3, 1, 1, 1, 1)}},
  };
}

Problem problem(const ConvShape& shape, int64_t bases, double density) { return {{shape, density}, bases}; }

void test_shapes(const Kernels& kernels, std::mt19937& random) {
  for (const NamedShape& s : shapes()) {
    for (const int64_t bases : {1, 2, 3, 5, 7, 13})
      run(kernels, s.name, problem(s.shape, bases, 0.2), s.shape, random);
  }
}

void test_densities_and_last_stages(const Kernels& kernels, std::mt19937& random) {
  for (const NamedShape& s : shapes()) {
    if (s.shape.output_plane() > 300) continue;
    for (const double density : {0.0, 0.1, 1.0}) {
      Problem p = problem(s.shape, 3, density);
      p.conv.residual = true;
      p.conv.finish = {Activation::clip, -0.5f, 1.25f, 0};
      p.conv.misalignment = 3;
      run(kernels, s.name, p, s.shape, random);
    }
  }
}

// A model with open sizes is packed for one shape and run with others.
void test_other_sizes(const Kernels& kernels, std::mt19937& random) {
  const auto at = [](int64_t height, int64_t width, int64_t stride) {
    return ConvShape{2, {1, 20, 50, 9}, axis(height, 3, 1, 1, 1, 1), axis(width, 3, stride, 1, 1, 1)};
  };
  for (const int64_t height : {1, 5, 33}) {
    for (const int64_t width : {1, 7, 65}) {
      for (const int64_t stride : {1, 2})
        run(kernels, "another size", problem(at(height, width, stride), 2, 0.3), at(28, 28, stride), random);
    }
  }
}

void test(const Kernels& kernels, unsigned seed) {
  std::mt19937 random(seed);
  test_shapes(kernels, random);
  test_densities_and_last_stages(kernels, random);
  test_other_sizes(kernels, random);
}

}  // namespace
}  // namespace onnxcomp::basis_conv

int main() {
  using namespace onnxcomp;
  constexpr unsigned kSeed = 20;
  std::printf("seed %u\n", kSeed);
#define ONNXCOMP_TEST(isa)                                                               \
  if (detected_isa() >= Isa::isa) {                                                      \
    std::printf("%s\n", basis_conv::isa##_kernel.name);                                  \
    basis_conv::test({basis_conv::isa##_kernel, sparse_conv::isa##_kernel}, kSeed);      \
  }
  ONNXCOMP_BASIS_CONV_KERNELS(ONNXCOMP_TEST)
  return testing::verdict();
}
