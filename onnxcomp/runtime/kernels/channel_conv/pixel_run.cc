#include "kernels/channel_conv/pixel_run.h"

#include <algorithm>

#include "kernels/channel_conv/tasks.h"

namespace onnxcomp::channel_conv {

PixelRun::PixelRun(const Kernel& kernel, sparse_conv::FinishFn finish_fn, const ChannelBlocks& weight,
                   const ConvShape& shape, const Plan& plan, const sparse_conv::Finish& finish,
                   const sparse_conv::Tensors& tensors, int64_t threads)
    : kernel_(kernel),
      finish_fn_(finish_fn),
      weight_(weight),
      shape_(shape),
      finish_(finish),
      tensors_(tensors),
      separate_finish_(is_separate(finish, tensors.residual)),
      vectors_(pixel_vectors(shape)),
      tasks_(tasks_for(plan.cycles * static_cast<double>(shape.batch), threads,
                       shape.batch * shape.weight.groups * vectors_.parts)) {}

bool PixelRun::run(int64_t task) const noexcept {
  const int64_t groups = shape_.weight.groups;
  const Split items = {shape_.batch * groups * vectors_.parts, tasks_};
  for (int64_t item = items.begin(task), end = item + items.size(task); item < end; ++item)
    run_part(item / vectors_.parts / groups, item / vectors_.parts % groups, item % vectors_.parts);
  return true;
}

void PixelRun::run_part(int64_t image, int64_t group, int64_t part) const noexcept {
  const WeightShape& shape = weight_.shape;
  const int64_t plane = shape_.output_plane();
  const int64_t pixel = vectors_.begin(part) * kChannels;
  Pixels p{};
  p.vectors = vectors_.size(part);
  const int64_t of_last = std::min(kChannels, plane - pixel - (p.vectors - 1) * kChannels);
  p.mask = static_cast<uint16_t>((1u << of_last) - 1);
  p.x = tensors_.x + (image * shape_.input_channels() + group * shape.channels) * plane + pixel;
  p.x_stride = p.y_stride = plane;
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
  constexpr int64_t kMost = kPixelVectors * kChannels;
  alignas(64) float finished[kChannels * kMost] = {};
  alignas(64) float residual[kChannels * kMost] = {};
  const int64_t plane = shape_.output_plane();
  const int64_t count = std::min(p.vectors * kChannels, plane - at % plane);
  float* const y = p.y;
  p.y = finished;
  p.y_stride = kMost;
  kernel_.pixels(p);
  if (tensors_.residual != nullptr) {
    for (int64_t o = 0; o < kChannels; ++o)
      std::copy_n(tensors_.residual + at + o * plane, count, residual + o * kMost);
  }
  finish_fn_(finish_, tensors_.residual != nullptr ? residual : nullptr, finished, kChannels * kMost);
  for (int64_t o = 0; o < kChannels; ++o) std::copy_n(finished + o * kMost, count, y + o * plane);
}

}  // namespace onnxcomp::channel_conv
