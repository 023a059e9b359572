// Times the kernel of this CPU, on one thread, in both structures, on layers of well-known networks, and checks what it
// computed.
#include <cmath>
#include <string>

#include "cpu.h"
#include "kernels/channel_conv/dispatch.h"
#include "kernels/channel_conv/pixel_run.h"
#include "kernels/channel_conv/problem.h"
#include "kernels/sparse_conv/reference.h"
#include "timing.h"

namespace onnxcomp::channel_conv {
namespace {

struct Layer {
  const char* name;
  ConvShape shape;
};

Layer square(const char* name, int64_t channels, int64_t outputs, int64_t size, int64_t kernel, int64_t stride) {
  const sparse_conv::AxisShape a = sparse_conv::axis(size, kernel, stride, 1, kernel / 2, kernel / 2);
  return {name, {1, {1, outputs, channels, kernel * kernel}, a, a}};
}

std::vector<Layer> layers() {
  return {
      square("3x3 64-64 @56", 64, 64, 56, 3, 1),        square("3x3 128-128 @28", 128, 128, 28, 3, 1),
      square("3x3 256-256 @14", 256, 256, 14, 3, 1),    square("3x3 512-512 @7", 512, 512, 7, 3, 1),
      square("3x3 256-256 @56", 256, 256, 56, 3, 1),    square("3x3 256-256 @28 /2", 256, 256, 28, 3, 2),
      square("1x1 64-256 @56", 64, 256, 56, 1, 1),      square("1x1 512-128 @28", 512, 128, 28, 1, 1),
      square("1x1 256-1024 @14", 256, 1024, 14, 1, 1),  square("1x1 2048-512 @7", 2048, 512, 7, 1, 1),
      square("3x3 16-16 @32", 16, 16, 32, 3, 1),        square("3x3 64-64 @8", 64, 64, 8, 3, 1),
      square("3x3 512-512 @4", 512, 512, 4, 3, 1),      square("3x3 512-512 @2", 512, 512, 2, 3, 1),
  };
}

// The largest error relative to what rounding is proportional to.
double worst_error(const Problem& p, const Data& data) {
  const sparse_conv::Reference expected = sparse_conv::reference(data.weight, p.shape, p.finish, data.tensors);
  double worst = 0;
  for (size_t i = 0; i < expected.y.size(); ++i)
    worst = std::max(worst, std::abs(data.tensors.y[i] - expected.y[i]) / expected.magnitude[i]);
  return worst;
}

void bench(const Kernel& kernel, const sparse_conv::Kernel& finisher, const Layer& layer, double density,
           std::optional<int64_t> kept) {
  std::mt19937 random(1);
  const Problem p{layer.shape, 1.0, false, {sparse_conv::Activation::relu, 0, INFINITY, 0}};
  const WeightShape& shape = p.shape.weight;
  Data data(p, random);
  if (kept) {
    prune_windows(data.weight, shape, *kept, random);
  } else {
    testing::prune_blocks(data.weight, kChannels, shape.channels * shape.taps, density, random);
  }
  const auto nonzeros = static_cast<double>(data.weight.size() - static_cast<size_t>(std::count(
                                                data.weight.begin(), data.weight.end(), 0.0f)));
  const Weight weight = pack(data.weight, p.shape, kept);
  const Plan plan = make_plan(p.shape, weight);
  const double us =
      plan.pixels
          ? timing::run_us(PixelRun(kernel, finisher.finish, *weight.blocks(), p.shape, plan, p.finish, data.tensors, 1))
          : timing::run_us(Run(kernel, finisher.finish, weight, p.shape, plan, p.finish, data.tensors, 1));
  const double gflop = 2e-9 * nonzeros * static_cast<double>(p.shape.output_plane());
  std::printf("%-7s %-5s %-20s %9.1f us %6.0f GFLOP/s, error %.1g  ", kernel.name, kept ? "n:16" : "16x1", layer.name,
              us, gflop / us * 1e6, worst_error(p, data));
  std::printf("%dx%d tile, %dx%d strips, block %d, predicted %.1f, element by element %.1f\n",
              static_cast<int>(plan.tile_y.size(0)), static_cast<int>(plan.tile_x.size(0)),
              static_cast<int>(plan.strip_y.parts), static_cast<int>(plan.strip_x.parts),
              static_cast<int>(plan.block), plan.cycles / 4.2e3,
              sparse_conv::predict_cycles(finisher, p.shape, {static_cast<int64_t>(nonzeros), 1}) / 4.2e3);
}

}  // namespace
}  // namespace onnxcomp::channel_conv

// bench [density [n [name]]]: the share of blocks kept, 0.1 where it is not given; the n of n:16, 2 likewise; part of
// the wanted structure's and layers' names, as in "16x1 1x1".
int main(int count, char** arguments) {
  using namespace onnxcomp;
  const double density = count > 1 ? std::atof(arguments[1]) : 0.1;
  const int64_t kept = count > 2 ? std::atoi(arguments[2]) : 2;
  const std::string name = count > 3 ? arguments[3] : "";
  const channel_conv::Kernel* kernel = channel_conv::kernel_for(detected_isa());
  if (kernel == nullptr) return 0;
  for (const std::optional<int64_t> n : {std::optional<int64_t>{}, {kept}}) {
    for (const channel_conv::Layer& layer : channel_conv::layers()) {
      if ((std::string(n ? "n:16 " : "16x1 ") + layer.name).find(name) == std::string::npos) continue;
      channel_conv::bench(*kernel, sparse_conv::kernel_for(detected_isa()), layer, density, n);
    }
  }
  return 0;
}
