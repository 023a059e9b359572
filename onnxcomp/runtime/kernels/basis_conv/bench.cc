// Times every kernel this CPU can run, on one thread, on layers of well-known networks, and checks what it computed.
#include <algorithm>
#include <string>

#include "cpu.h"
#include "kernels/basis_conv/list.h"
#include "kernels/basis_conv/problem.h"
#include "kernels/sparse_conv/list.h"
#include "timing.h"

namespace onnxcomp::basis_conv {
namespace {

struct Layer {
  const char* name;
  ConvShape shape;
};

Layer square(const char* name, int64_t channels, int64_t size, int64_t stride) {
  const sparse_conv::AxisShape a = sparse_conv::axis(size, 3, stride, 1, 1, 1);
  return {name, {1, {1, channels, channels, 9}, a, a}};
}

std::vector<Layer> layers() {
  return {
      square("3x3 64 @56", 64, 56, 1),   square("3x3 128 @28", 128, 28, 1), square("3x3 256 @14", 256, 14, 1),
      square("3x3 512 @7", 512, 7, 1),   square("3x3 128 @112", 128, 112, 1), square("3x3 256 @56", 256, 56, 1),
      square("3x3 512 @28", 512, 28, 1), square("3x3 512 @14", 512, 14, 1), square("3x3 256 @28 /2", 256, 28, 2),
  };
}

struct Choice {
  double density = 0.1;
  int64_t bases = 2;
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

// All maps of all tiles and nothing else.
void make_maps(const Prepared& prepared, int64_t lanes, float* scratch, float* vectors) {
  const sparse_conv::Plan& plan = prepared.plan.pointwise;
  const int64_t maps = prepared.shape_of_maps.weight.channels;
  for (int64_t tile = 0; tile < plan.x.parts; ++tile) {
    for (int64_t first = 0; first < maps; first += plan.block)
      prepared.maps.make(
          {0, 0, first, std::min(plan.block, maps - first), plan.x.begin(tile) * lanes, plan.x.size(tile)}, scratch,
          vectors);
  }
}

void bench(const Kernel& kernel, const sparse_conv::Kernel& pointwise, const Choice& choice) {
  for (const Layer& layer : layers()) {
    if ((std::string(kernel.name) + " " + layer.name).find(choice.layer) == std::string::npos) continue;
    std::mt19937 random(1);
    const sparse_conv::Finish relu = {sparse_conv::Activation::relu, 0, INFINITY, 0};
    const Problem p{{layer.shape, choice.density, false, relu}, choice.bases};
    const Data data(p, random);
    const Prepared prepared(kernel, pointwise, p, data, p.conv.shape);
    const sparse_conv::Run run(pointwise, prepared.weight.coefficients, prepared.shape_of_maps, prepared.plan.pointwise,
                               p.conv.finish, data.conv.tensors, 1, &prepared.maps);
    const double us = timing::run_us(run);
    const sparse_conv::Plan& plan = prepared.plan.pointwise;
    const sparse_conv::Buffer scratch(std::vector<float>(prepared.maps.scratch_floats()), 0);
    const sparse_conv::Buffer vectors(std::vector<float>(plan.block * plan.channel_vectors * kernel.lanes), 0);
    const double maps_us =
        timing::median_us([&] { make_maps(prepared, kernel.lanes, scratch.data(), vectors.data()); });
    const double dense_gflop = 2e-9 * data.conv.weight.size() * p.conv.shape.output_plane();
    std::printf("%-9s %-15s d %d %3.0f %% zeros %8.1f us, %4.1f %% of them maps, %6.0f dense GFLOP/s, ", kernel.name,
                layer.name, static_cast<int>(choice.bases), 100 * (1 - choice.density), us, 100 * maps_us / us,
                dense_gflop / us * 1e6);
    std::printf("error %.1g, tile %d, block %d\n", worst_error(p, data), static_cast<int>(plan.channel_vectors),
                static_cast<int>(plan.block));
  }
}

}  // namespace
}  // namespace onnxcomp::basis_conv

// bench [density [bases [name]]]: the share of nonzero coefficients, 0.1 where it is not given; bases, 2; part of the
// wanted instruction set's and layers' names, as in "avx512 3x3 128".
int main(int count, char** arguments) {
  using namespace onnxcomp;
  basis_conv::Choice choice;
  if (count > 1) choice.density = std::atof(arguments[1]);
  if (count > 2) choice.bases = std::atoi(arguments[2]);
  if (count > 3) choice.layer = arguments[3];
#define ONNXCOMP_BENCH(isa) \
  if (detected_isa() >= Isa::isa) basis_conv::bench(basis_conv::isa##_kernel, sparse_conv::isa##_kernel, choice);
  ONNXCOMP_BASIS_CONV_KERNELS(ONNXCOMP_BENCH)
  return 0;
}
