// Times every kernel this CPU can run, on one thread, on fully connected layers of well-known networks.
#include <time.h>

#include <algorithm>
#include <cstdlib>

#include "cpu.h"
#include "kernels/sign_gemm/list.h"
#include "kernels/sign_gemm/problem.h"

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

// Of this thread, so that other work on the machine counts only through the caches.
double cpu_us() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1e6 + now.tv_nsec * 1e-3;
}

double median_us(const Run& run) {
  std::vector<double> times;
  for (const double start = cpu_us(); times.size() < 5 || cpu_us() - start < 60e3;) {
    const double begin = cpu_us();
    for (int64_t task = 0; task < run.tasks(); ++task) {
      if (!run.run(task)) std::abort();
    }
    times.push_back(cpu_us() - begin);
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

void bench(Isa isa, const Layer& layer, const Problem& p, Data& data) {
  const Kernel& kernel = kernel_for(isa);
  const auto panels = pack(kernel, p, data);
  const Run run(kernel, *panels, {p.finish, sparse_conv::kernel_for(isa).finish}, data.tensors);
  const double us = median_us(run);
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
