// Times every kernel this CPU can run, on one thread, on layers of well-known networks, and checks what it computed.
#include <algorithm>
#include <cmath>
#include <string>

#include "cpu.h"
#include "kernels/sparse_conv/list.h"
#include "kernels/sparse_conv/problem.h"
#include "kernels/sparse_conv/reference.h"
#include "timing.h"

namespace onnxcomp::sparse_conv {
namespace {

struct Layer {
  const char* name;
  ConvShape shape;
};

Layer square(const char* name, int64_t groups, int64_t channels, int64_t outputs, int64_t size, int64_t kernel,
             int64_t stride) {
  const AxisShape a = axis(size, kernel, stride, 1, kernel / 2, kernel / 2);
  return {name, {1, {groups, outputs / groups, channels / groups, kernel * kernel}, a, a}};
}

std::vector<Layer> layers() {
  return {
      square("3x3 64-64 @56", 1, 64, 64, 56, 3, 1),       square("3x3 128-128 @28", 1, 128, 128, 28, 3, 1),
      square("3x3 256-256 @14", 1, 256, 256, 14, 3, 1),   square("3x3 512-512 @7", 1, 512, 512, 7, 3, 1),
      square("3x3 256-256 @56", 1, 256, 256, 56, 3, 1),   square("3x3 256-256 @28 /2", 1, 256, 256, 28, 3, 2),
      square("5x5 96-256 @27 g2", 2, 96, 256, 27, 5, 1),  square("3x3 256-384 @13", 1, 256, 384, 13, 3, 1),
      square("1x1 64-256 @56", 1, 64, 256, 56, 1, 1),     square("1x1 512-128 @28", 1, 512, 128, 28, 1, 1),
      square("1x1 256-1024 @14", 1, 256, 1024, 14, 1, 1), square("1x1 2048-512 @7", 1, 2048, 512, 7, 1, 1),
      square("1x1 64-64 @56", 1, 64, 64, 56, 1, 1),       square("1x1 128-512 @28", 1, 128, 512, 28, 1, 1),
      square("1x1 256-512 @56 /2", 1, 256, 512, 56, 1, 2),
      square("3x3 64-64 @224", 1, 64, 64, 224, 3, 1),     square("3x3 512-512 @4", 1, 512, 512, 4, 3, 1),
      square("3x3 512-512 @2", 1, 512, 512, 2, 3, 1),
      square("3x3 16-16 @32", 1, 16, 16, 32, 3, 1),       square("3x3 64-64 @8", 1, 64, 64, 8, 3, 1),
  };
}

struct Choice {
  double density = 0.1;
  const char* layer = "";  // part of the wanted ones' names
  int64_t height = 1;
  bool residual = false;
};

// The largest error relative to what rounding is proportional to.
double worst_error(const Problem& p, const Data& data) {
  const Reference expected = reference(data.weight, p.shape, p.finish, data.tensors);
  double worst = 0;
  for (size_t i = 0; i < expected.y.size(); ++i)
    worst = std::max(worst, std::abs(data.tensors.y[i] - expected.y[i]) / expected.magnitude[i]);
  return worst;
}

void bench(const Kernel& kernel, const Choice& choice) {
  for (const Layer& layer : layers()) {
    if ((std::string(kernel.name) + " " + layer.name).find(choice.layer) == std::string::npos) continue;
    std::mt19937 random(1);
    const Problem p{layer.shape, choice.density, choice.residual, {Activation::relu, 0, INFINITY, 0}, 0, choice.height};
    const Data data(p, random);
    const Prepared prepared(kernel, p, data.weight, p.shape);
    const Run run(kernel, prepared.csr, p.shape, prepared.plan, p.finish, data.tensors, 1);
    const double us = timing::run_us(run);
    const double dense_gflop = 2e-9 * data.weight.size() * p.shape.output_plane();
    const TileLayout& tile = prepared.plan.tile[0][0];
    std::printf("%-9s %-20s %3.0f %% zeros %9.1f us %7.0f dense GFLOP/s, error %.1g  ", kernel.name, layer.name,
                100 * (1 - choice.density), us, dense_gflop / us * 1e6, worst_error(p, data));
    std::printf("%dx%d tile, %dx%d grid, block %d\n", static_cast<int>(tile.major), static_cast<int>(tile.minor),
                static_cast<int>(prepared.plan.grid_y), static_cast<int>(prepared.plan.grid_x),
                static_cast<int>(prepared.plan.block));
  }
}

}  // namespace
}  // namespace onnxcomp::sparse_conv

// bench [density [name [height [residual]]]]: the share of nonzeros, 0.1 where it is not given; part of the wanted
// instruction set's and layers' names, as in "avx512 1x1"; the height of the weight's blocks, 1, 4 or 16; anything at
// all to add a residual.
int main(int count, char** arguments) {
  using namespace onnxcomp;
  sparse_conv::Choice choice;
  if (count > 1) choice.density = std::atof(arguments[1]);
  if (count > 2) choice.layer = arguments[2];
  if (count > 3) choice.height = std::atoi(arguments[3]);
  choice.residual = count > 4;
#define ONNXCOMP_BENCH(name) \
  if (detected_isa() >= Isa::name) sparse_conv::bench(sparse_conv::name##_kernel, choice);
  ONNXCOMP_SPARSE_CONV_KERNELS(ONNXCOMP_BENCH)
  return 0;
}
