#include "kernels/channel_conv/pixel_run.h"

#include <algorithm>

#include "kernels/channel_conv/tasks.h"

namespace onnxcomp::channel_conv {

PixelRun::PixelRun(const Kernel& kernel, sparse_conv::FinishFn finish_fn, const ChannelBlocks& weight,
                   const ConvShape& shape, const Plan& plan, const sparse_conv::Finish& finish,
                   const sparse_conv::Tensors& tensors)
    : kernel_(kernel),
      finish_fn_(finish_fn),
      weight_(weight),
      shape_(shape),
      finish_(finish),
      tensors_(tensors),
      separate_finish_(is_separate(finish, tensors.residual)),
      tasks_(tasks_for(plan.cycles * static_cast<double>(shape.batch),
                       shape.batch * shape.weight.groups * vectors())) {}

bool PixelRun::run(int64_t task) const noexcept {
  const int64_t groups = shape_.weight.groups;
  const Split items = {shape_.batch * groups * vectors(), tasks_};
  for (int64_t item = items.begin(task), end = item + items.size(task); item < end; ++item)
    run_vector(item / vectors() / groups, item / vectors() % groups, item % vectors());
  return true;
}

void PixelRun::run_vector(int64_t image, int64_t group, int64_t vector) const noexcept {
  const WeightShape& shape = weight_.shape;
  const int64_t plane = shape_.output_plane();
  const int64_t pixel = vector * kChannels;
  const int64_t count = std::min(kChannels, plane - pixel);
  Pixels p{};
  p.x = tensors_.x + (image * shape_.input_channels() + group * shape.channels) * plane + pixel;
  p.x_stride = p.y_stride = plane;
  p.mask = static_cast<uint16_t>((1u << count) - 1);
  p.clamp = !separate_finish_ && is_clamp(finish_.activation);
  p.low = finish_.low;
  p.high = finish_.high;
  for (int64_t row = 0; row < weight_.rows; ++row) {
    const uint32_t* begin = weight_.begin.data() + weight_.row(group, 0, row);
    const int64_t output = group * shape.outputs + row * kChannels;
    const int64_t at = (image * shape_.output_channels() + output) * plane + pixel;
    p.count = begin[1] - begin[0];
    p.channel = weight_.column.data() + begin[0];
    p.value = weight_.value.data() + int64_t{begin[0]} * kChannels;
    p.bias = tensors_.bias + output;
    p.y = tensors_.y + at;
    if (separate_finish_) {
      run_separate(p, at);
    } else {
      kernel_.pixels(p);
    }
  }
}

void PixelRun::run_separate(Pixels p, int64_t at) const noexcept {
  constexpr int64_t kFloats = kChannels * kChannels;
  alignas(64) float finished[kFloats] = {};
  alignas(64) float residual[kFloats] = {};
  const int64_t count = std::min(kChannels, shape_.output_plane() - at % shape_.output_plane());
  float* const y = p.y;
  p.y = finished;
  p.y_stride = kChannels;
  kernel_.pixels(p);
  if (tensors_.residual != nullptr) {
    for (int64_t o = 0; o < kChannels; ++o)
      std::copy_n(tensors_.residual + at + o * shape_.output_plane(), count, residual + o * kChannels);
  }
  finish_fn_(finish_, tensors_.residual != nullptr ? residual : nullptr, finished, kFloats);
  for (int64_t o = 0; o < kChannels; ++o)
    std::copy_n(finished + o * kChannels, count, y + o * shape_.output_plane());
}

}  // namespace onnxcomp::channel_conv
