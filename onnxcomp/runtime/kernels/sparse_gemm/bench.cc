// Times every kernel this CPU can run, on one thread, on fully connected layers of well-known networks, by either way of
// packing, and checks what it computed.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "cpu.h"
#include "kernels/sparse_gemm/list.h"
#include "kernels/sparse_gemm/problem.h"
#include "kernels/sparse_gemm/reference.h"
#include "timing.h"

namespace onnxcomp::sparse_gemm {
namespace {

struct Layer {
  const char* name;
  int64_t outputs;
  int64_t columns;
};
constexpr Layer kLayers[] = {{"VGG-16 fc6", 4096, 25088},
                             {"AlexNet fc6", 4096, 9216},
                             {"fc7", 4096, 4096},
                             {"fc8", 1000, 4096},
                             {"ResNet-50 fc", 1000, 2048},
                             {"small", 100, 512}};

// The largest error relative to what rounding is proportional to.
double worst_error(const Problem& p, Data& data) {
  const Reference expected = reference(data.weight, p.outputs, p.columns, data.tensors(p));
  double worst = 0;
  for (size_t i = 0; i < expected.y.size(); ++i)
    worst = std::max(worst, std::abs(data.y[i] - expected.y[i]) / expected.magnitude[i]);
  return worst;
}

void bench(Isa isa, Data& data, const char* name, const Problem& p) {
  for (const bool by_windows : {true, false}) {
    if (by_windows && !WindowsRun::suits(kernel_for(isa), p.rows, p.columns)) continue;
    const auto run = data.run(isa, p, by_windows);
    const double us = timing::run_us(*run);
    const double dense_gflop = 2e-9 * static_cast<double>(p.rows * p.outputs * p.columns);
    std::printf("%-9s %-12s batch %2d %-8s %9.1f us %6.0f dense GFLOP/s", kernel_for(isa).name, name,
                static_cast<int>(p.rows), by_windows ? "windows" : "rows", us, dense_gflop / us * 1e6);
    if (p.columns < 5000) std::printf(", error %.1g", worst_error(p, data));
    std::printf("\n");
  }
}

}  // namespace
}  // namespace onnxcomp::sparse_gemm

// bench [density [batch ...]]: the share of nonzeros, 0.1 where it is not given, and rows of X.
int main(int count, char** arguments) {
  using namespace onnxcomp;
  using namespace onnxcomp::sparse_gemm;
  const double density = count > 1 ? std::atof(arguments[1]) : 0.1;
  std::vector<int64_t> batches;
  for (int i = 2; i < count; ++i) batches.push_back(std::atoi(arguments[i]));
  if (batches.empty()) batches = {1, 4, 16, 64};
  for (const Layer& layer : kLayers) {
    std::mt19937 random(1);
    Data data({*std::max_element(batches.begin(), batches.end()), layer.outputs, layer.columns, density}, random);
    for (const int64_t batch : batches) {
      const Problem p = {batch, layer.outputs, layer.columns, density};
      data.y.resize(batch * layer.outputs);
#define ONNXCOMP_BENCH(isa) \
  if (detected_isa() >= Isa::isa) bench(Isa::isa, data, layer.name, p);
      ONNXCOMP_SPARSE_GEMM_KERNELS(ONNXCOMP_BENCH)
    }
  }
  return 0;
}
