// Times every kernel this CPU can run, on one thread, on layers of well-known networks, and checks what it computed.
#include <algorithm>
#include <string>

#include "cpu.h"
#include "kernels/sparse_conv/list.h"
#include "kernels/unified_conv/problem.h"
#include "timing.h"

namespace onnxcomp::unified_conv {
namespace {

struct Layer {
  const char* name;
  ConvShape shape;
};

Layer square(const char* name, int64_t channels, int64_t size, int64_t stride = 1, int64_t kernel = 3) {
  const sparse_conv::AxisShape a = sparse_conv::axis(size, kernel, stride, 1, kernel / 2, kernel / 2);
  return {name, {1, {1, channels, channels, kernel * kernel}, a, a}};
}

std::vector<Layer> layers() {
  return {
      square("3x3 64 @56", 64, 56),   square("3x3 128 @28", 128, 28),       square("3x3 256 @14", 256, 14),
      square("3x3 512 @7", 512, 7),   square("3x3 128 @56", 128, 56),       square("3x3 256 @28", 256, 28),
      square("3x3 512 @14", 512, 14), square("3x3 256 @28 /2", 256, 28, 2), square("1x1 256 @28", 256, 28, 1, 1),
  };
}

struct Choice {
  double zero = 0;
  double free = 0;
  std::vector<float> levels = {1, -1};
  const char* layer = "";  // part of the wanted ones' names
};

// The largest error relative to what rounding is proportional to.
double worst_error(const Problem& p, const Data& data) {
  const sparse_conv::Reference expected = data.expected(p);
  double worst = 0;
  for (size_t i = 0; i < expected.y.size(); ++i)
    worst = std::max(worst, std::abs(data.conv.tensors.y[i] - expected.y[i]) / expected.magnitude[i]);
  return worst;
}

void bench(const sparse_conv::Kernel& kernel, const Choice& choice) {
  for (const Layer& layer : layers()) {
    if ((std::string(kernel.name) + " " + layer.name).find(choice.layer) == std::string::npos) continue;
    std::mt19937 random(1);
    const sparse_conv::Finish relu = {sparse_conv::Activation::relu, 0, INFINITY, 0};
    const Problem p{{layer.shape, 1, false, relu}, 4, 4, choice.levels, choice.zero, choice.free};
    const Data data(p, random);
    const EntryCounts counts = count_entries(Prepared::rows(p, data), p.conv.shape.weight);
    const Prepared prepared(kernel, p, data, p.conv.shape, choose_writing(kernel, p.conv.shape, counts));
    const sparse_conv::Plan& plan = prepared.plan;
    const sparse_conv::Run run(kernel, prepared.weight, p.conv.shape, plan, p.conv.finish, data.conv.tensors, 1);
    const double us = timing::run_us(run);
    const double dense_gflop = 2e-9 * data.conv.weight.size() * p.conv.shape.output_plane();
    std::printf("%-9s %-15s %3.0f %% zero, %3.0f %% free %8.1f us, %6.0f dense GFLOP/s, %.2f entries a weight, ",
                kernel.name, layer.name, 100 * choice.zero, 100 * choice.free, us, dense_gflop / us * 1e6,
                static_cast<double>(prepared.weight.value.size()) / data.conv.weight.size());
    std::printf("sums %d, error %.1g, predicted %.0f cycles, tile %dx%d of %d, block %d\n",
                int{prepared.weight.sums}, worst_error(p, data), plan.cycles,
                static_cast<int>(plan.tile[0][0].major), static_cast<int>(plan.tile[0][0].minor),
                static_cast<int>(plan.channel_vectors), static_cast<int>(plan.block));
  }
}

}  // namespace
}  // namespace onnxcomp::unified_conv

// bench [zero [free [levels [name]]]]: shares of 4x4 blocks that are zero and free, 0 where they are not given; 1, 2 or 3
// levels {1}, {1, 0}, {1, 1/2, 0}; part of the wanted instruction set's and layers' names, as in "avx512 3x3 128".
int main(int count, char** arguments) {
  using namespace onnxcomp;
  unified_conv::Choice choice;
  if (count > 1) choice.zero = std::atof(arguments[1]);
  if (count > 2) choice.free = std::atof(arguments[2]);
  if (count > 3 && std::atoi(arguments[3]) == 2) choice.levels = {1, -1, 0};
  if (count > 3 && std::atoi(arguments[3]) == 3) choice.levels = {1, -1, 0.5f, -0.5f, 0};
  if (count > 4) choice.layer = arguments[4];
#define ONNXCOMP_BENCH(isa) \
  if (detected_isa() >= Isa::isa) unified_conv::bench(sparse_conv::isa##_kernel, choice);
  ONNXCOMP_SPARSE_CONV_KERNELS(ONNXCOMP_BENCH)
  return 0;
}
