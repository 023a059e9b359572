// Times every kernel this CPU can run, on one thread, on fully connected layers of well-known networks.
#include <algorithm>
#include <cstdlib>

#include "cpu.h"
#include "kernels/sign_gemm/list.h"
#include "kernels/sign_gemm/problem.h"
#include "timing.h"

namespace onnxcomp::sign_gemm {
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
                             {"ResNet-50 fc", 1000, 2048}};

void bench(Isa isa, const Layer& layer, const Problem& p, Data& data) {
  const Kernel& kernel = kernel_for(isa);
  const auto panels = pack(kernel, p, data);
  const Run run(kernel, *panels, {p.finish, sparse_conv::kernel_for(isa).finish}, data.tensors);
  const double us = timing::run_us(run);
  const double dense_gflop = 2e-9 * static_cast<double>(p.rows * p.outputs * p.columns);
  std::printf("%-9s %-12s batch %2d %9.1f us %6.0f dense GFLOP/s\n", kernel.name, layer.name, static_cast<int>(p.rows),
              us, dense_gflop / us * 1e6);
}

}  // namespace
}  // namespace onnxcomp::sign_gemm

// bench [batch ...]: rows of X, 1 where there are none.
int main(int count, char** arguments) {
  using namespace onnxcomp;
  using namespace onnxcomp::sign_gemm;
  std::vector<int64_t> batches;
  for (int i = 1; i < count; ++i) batches.push_back(std::atoi(arguments[i]));
  if (batches.empty()) batches = {1};
  for (const Layer& layer : kLayers) {
    for (const int64_t batch : batches) {
      std::mt19937 random(1);
      const Problem p = {batch, layer.outputs, layer.columns};
      Data data(p, random);
#define ONNXCOMP_BENCH(isa) \
  if (detected_isa() >= Isa::isa) bench(Isa::isa, layer, p, data);
      ONNXCOMP_SIGN_GEMM_KERNELS(ONNXCOMP_BENCH)
    }
  }
  return 0;
}
