// Every kernel this CPU can run, against the reference; and which weights can be packed for them.
#include <cmath>
#include <limits>

#include "cpu.h"
#include "kernels/sign_gemm/list.h"
#include "kernels/sign_gemm/problem.h"
#include "kernels/sparse_gemm/reference.h"

namespace onnxcomp::sign_gemm {
namespace {

using testing::DenseRows;
using testing::expect;

constexpr double kEpsilon = std::numeric_limits<float>::epsilon();

void run(Isa isa, const Problem& p, std::mt19937& random) {
  const Kernel& kernel = kernel_for(isa);
  Data data(p, random);
  const auto panels = pack(kernel, p, data);
  expect(panels.has_value(), "%s: blocks of one magnitude are packed", kernel.name);
  if (!panels) return;
  expect(panels->half == (p.half && kernel.multiply_half != nullptr), "%s: type of the scales", kernel.name);
  const Run run(kernel, *panels, {p.finish, sparse_conv::kernel_for(isa).finish}, data.tensors);
  for (int64_t task = run.tasks() - 1; task >= 0; --task) expect(run.run(task), "out of memory");
  const sparse_gemm::Reference expected = sparse_gemm::reference(data.weight, p.outputs, p.columns, data.tensors);
  int64_t wrong = 0;
  for (size_t i = 0; i < expected.y.size(); ++i) {
    const bool relu = p.finish.activation == sparse_conv::Activation::relu;
    const double y = relu ? std::max(expected.y[i], 0.0) : expected.y[i];
    // A quad's sum rounds three times, and then its products are added.
    wrong += !(std::abs(data.y[i] - y) <= kEpsilon / 2 * static_cast<double>(p.columns + 5) * expected.magnitude[i]);
  }
  expect(wrong == 0, "%s, %lld x %lld, batch %lld: %lld outputs wrong", kernel.name, static_cast<long long>(p.outputs),
         static_cast<long long>(p.columns), static_cast<long long>(p.rows), static_cast<long long>(wrong));
}

void test_sizes(Isa isa, std::mt19937& random) {
  const sparse_conv::Finish relu = {sparse_conv::Activation::relu, 0, INFINITY, 0};
  for (const int64_t rows : {1, 3}) {
    for (const int64_t outputs : {4, 60, 64, 132, 1000}) {
      for (const int64_t columns : {4, 28, 32, 36, 512}) {
        run(isa, {rows, outputs, columns, 0.3, true, relu}, random);
        run(isa, {rows, outputs, columns, 0, false}, random);
      }
    }
  }
}

void test_other_weights(Isa isa, std::mt19937& random) {
  const Problem p = {1, 8, 8};
  const Kernel& kernel = kernel_for(isa);
  for (const float changed : {0.0f, 0.5f, INFINITY, NAN}) {
    Data data(p, random);
    data.weight[37] = changed;
    expect(!pack(kernel, p, data), "%s: a block with %g among others is packed", kernel.name, double{changed});
  }
  Data infinite(p, random);
  for (float& weight : infinite.weight) weight = INFINITY;
  expect(!pack(kernel, p, infinite), "%s: blocks of infinities are packed", kernel.name);
  const std::vector<float> ones(36, 1.0f);
  expect(!pack_sign_panels(DenseRows(ones, 6), 6, 6, kernel.lanes, false), "%s: blocks cut off", kernel.name);
}

// float16's largest, its smallest normal and subnormal ones, and what lies next to them.
void test_halves(const Kernel& kernel) {
  const std::pair<float, bool> cases[] = {
      {65504, true},        {65520, false},       {0x1p-14f, true},     {0x1.ff8p-15f, true},   {0x1.ffcp-15f, false},
      {0x3p-24f, true},     {0x1.8p-24f, false},  {0x1p-24f, true},     {0x1p-25f, false},      {1 + 0x1p-10f, true},
      {1 + 0x1p-11f, false}};
  for (const auto& [scale, is_half] : cases) {
    const std::vector<float> weight(16, scale);
    const auto panels = pack_sign_panels(DenseRows(weight, 4), 4, 4, kernel.lanes, true);
    expect(panels && panels->half == is_half, "%a is float16: %d", double{scale}, int{is_half});
    if (panels && panels->half) expect(half_to_float(panels->half_scale[0]) == scale, "%a in float16", double{scale});
  }
}

void test(Isa isa, unsigned seed) {
  std::mt19937 random(seed);
  test_sizes(isa, random);
  test_other_weights(isa, random);
  test_halves(kernel_for(isa));
}

}  // namespace
}  // namespace onnxcomp::sign_gemm

int main() {
  using namespace onnxcomp;
  constexpr unsigned kSeed = 20;
  std::printf("seed %u\n", kSeed);
#define ONNXCOMP_TEST(isa)                              \
  if (detected_isa() >= Isa::isa) {                     \
    std::printf("%s\n", sign_gemm::isa##_kernel.name);  \
    sign_gemm::test(Isa::isa, kSeed);                   \
  }
  ONNXCOMP_SIGN_GEMM_KERNELS(ONNXCOMP_TEST)
  return testing::verdict();
}
