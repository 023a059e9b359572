// Every kernel this CPU can run, against the reference: sizes, densities, rows of X, values that are not numbers.
#include <algorithm>
#include <cmath>
#include <limits>

#include "cpu.h"
#include "kernels/sparse_gemm/list.h"
#include "kernels/sparse_gemm/problem.h"
#include "kernels/sparse_gemm/reference.h"

namespace onnxcomp::sparse_gemm {
namespace {

using testing::expect;

constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

void run_all(const Run& run) {
  for (int64_t task = run.tasks() - 1; task >= 0; --task) expect(run.run(task), "out of memory");
}

void compare(Isa isa, const Problem& p, Data& data, bool by_windows) {
  std::fill(data.y.begin(), data.y.end(), 1e30f);
  const auto run = data.run(isa, p, by_windows);
  run_all(*run);
  const Reference expected = reference(data.weight, p.outputs, p.columns, data.tensors(p));
  // A sum of k + 1 terms rounds at most k + 1 times, each time by epsilon / 2 of what it has reached.
  const double terms = static_cast<double>(p.columns + 1);
  int64_t wrong = 0;
  for (size_t i = 0; i < expected.y.size(); ++i) {
    const double y = p.finish.activation == Activation::clip
                         ? std::clamp<double>(expected.y[i], p.finish.low, p.finish.high)
                         : expected.y[i];
    wrong += !(std::abs(data.y[i] - y) <= kEpsilon * (terms * expected.magnitude[i] / 2 + 1e-6));
  }
  expect(wrong == 0, "%s, %s: %lld of %zu outputs wrong (%lld x %lld x %lld, density %g)", kernel_for(isa).name,
         by_windows ? "windows" : "rows", static_cast<long long>(wrong), expected.y.size(),
         static_cast<long long>(p.rows), static_cast<long long>(p.outputs), static_cast<long long>(p.columns),
         p.density);
}

void run(Isa isa, const Problem& p, std::mt19937& random) {
  Data data(p, random);
  compare(isa, p, data, false);
  if (WindowsRun::suits(kernel_for(isa), p.rows, p.columns)) compare(isa, p, data, true);
}

void test_sizes(Isa isa, std::mt19937& random) {
  for (const int64_t rows : {1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 64, 70}) {
    for (const double density : {0.0, 0.1, 1.0}) run(isa, {rows, 37, 100, density}, random);
    run(isa, {rows, 5, 1500, 0.1}, random);
  }
  run(isa, {1, 1, 1, 1}, random);
  run(isa, {1, 600, 2100, 0.1}, random);
  run(isa, {40, 600, 1100, 0.05}, random);
}

void test_last_stage(Isa isa, std::mt19937& random) {
  for (const int64_t rows : {1, 3, 20})
    run(isa, {rows, 21, 90, 0.3, {Activation::clip, -0.5f, 1.25f, 0}}, random);
}

void test_random_sizes(Isa isa, std::mt19937& random) {
  const auto pick = [&](int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random);
  };
  for (int i = 0; i < 60; ++i)
    run(isa, {pick(1, 40), pick(1, 80), pick(1, 700), static_cast<double>(pick(0, 10)) / 10}, random);
}

// What is not a number in X reaches the outputs that read it, and no other.
void test_special_values(Isa isa, std::mt19937& random) {
  for (const float special : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const int64_t rows : {1, 4, 20}) {
      const Problem p = {rows, 40, 600, 0.1};
      Data data(p, random);
      std::fill(data.x.begin(), data.x.begin() + 600, 1.0f);
      data.x[521] = special;
      for (const bool by_windows : {false, true}) {
        if (by_windows && !WindowsRun::suits(kernel_for(isa), rows, p.columns)) continue;
        run_all(*data.run(isa, p, by_windows));
        for (int64_t n = 0; n < 40; ++n) {
          const bool reads = data.weight[n * 600 + 521] != 0;
          expect(std::isfinite(data.y[n]) != reads, "%s: output %d of %d rows", kernel_for(isa).name, static_cast<int>(n),
                 static_cast<int>(rows));
        }
        expect(std::all_of(data.y.begin() + 40, data.y.end(), [](float y) { return std::isfinite(y); }),
               "%s: another row is touched", kernel_for(isa).name);
      }
    }
  }
}

void test(Isa isa, unsigned seed) {
  std::mt19937 random(seed);
  test_sizes(isa, random);
  test_last_stage(isa, random);
  test_random_sizes(isa, random);
  test_special_values(isa, random);
}

}  // namespace
}  // namespace onnxcomp::sparse_gemm

int main() {
  using namespace onnxcomp;
  constexpr unsigned kSeed = 21;
  std::printf("seed %u\n", kSeed);
#define ONNXCOMP_TEST(isa)                               \
  if (detected_isa() >= Isa::isa) {                      \
    std::printf("%s\n", sparse_gemm::isa##_kernel.name); \
    sparse_gemm::test(Isa::isa, kSeed);                  \
  }
  ONNXCOMP_SPARSE_GEMM_KERNELS(ONNXCOMP_TEST)
  return testing::verdict();
}
