#include "kernels/sparse_conv/reference.h"

#include <algorithm>
#include <cmath>

namespace onnxcomp::sparse_conv {
namespace {

double activate(const Finish& f, double v) {
  const double hard_sigmoid = std::clamp(v / 6 + 0.5, 0.0, 1.0);
  switch (f.activation) {
    case Activation::none:
      return v;
    case Activation::relu:
    case Activation::clip:
      return std::min<double>(std::max<double>(v, f.low), f.high);
    case Activation::leaky_relu:
      return v < 0 ? f.alpha * v : v;
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-v));
    case Activation::hard_swish:
      return v * hard_sigmoid;
    case Activation::silu:
      return v / (1 + std::exp(-v));
  }
  __builtin_unreachable();
}

}  // namespace

Reference reference(const std::vector<float>& weight, const ConvShape& s, const Finish& finish, const Tensors& t) {
  Reference result;
  const WeightShape& w = s.weight;
  const int64_t taps = w.taps;
  for (int64_t n = 0; n < s.batch; ++n) {
    for (int64_t o = 0; o < s.output_channels(); ++o) {
      const int64_t first_channel = o / w.outputs * w.channels;
      for (int64_t p = 0; p < s.output_plane(); ++p) {
        const int64_t oy = p / s.x.output;
        const int64_t ox = p % s.x.output;
        double sum = t.bias[o];
        double magnitude = std::abs(sum);
        for (int64_t c = 0; c < w.channels; ++c) {
          const float* plane = t.x + (n * s.input_channels() + first_channel + c) * s.input_plane();
          for (int64_t tap = 0; tap < taps; ++tap) {
            const int64_t iy = oy * s.y.stride - s.y.pad + tap / s.x.kernel * s.y.dilation;
            const int64_t ix = ox * s.x.stride - s.x.pad + tap % s.x.kernel * s.x.dilation;
            if (iy < 0 || iy >= s.y.input || ix < 0 || ix >= s.x.input) continue;
            const double product = double{weight[(o * w.channels + c) * taps + tap]} * plane[iy * s.x.input + ix];
            sum += product;
            magnitude += std::abs(product);
          }
        }
        if (t.residual != nullptr) {
          const double z = t.residual[(n * s.output_channels() + o) * s.output_plane() + p];
          sum += z;
          magnitude += std::abs(z);
        }
        result.y.push_back(activate(finish, sum));
        result.magnitude.push_back(magnitude);
      }
    }
  }
  return result;
}

}  // namespace onnxcomp::sparse_conv
