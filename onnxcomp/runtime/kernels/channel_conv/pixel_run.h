// One execution of a 1x1 convolution with a weight in blocks of 16 output channels, pixel by pixel where they lie, cut
// into tasks that may run in any order and at the same time.
#pragma once

#include <cstdint>

#include "kernels/channel_conv/contract.h"
#include "kernels/channel_conv/plan.h"
#include "kernels/sparse_conv/run.h"

namespace onnxcomp::channel_conv {

class PixelRun {
 public:
  // Keeps references to `weight` and `shape`. The plan must be for them, the convolution 1x1 of stride 1 and its
  // weight in one block of input channels; `finish_fn` is for vectors of 16 floats. The work is cut up for `threads`.
  PixelRun(const Kernel& kernel, sparse_conv::FinishFn finish_fn, const ChannelBlocks& weight, const ConvShape& shape,
           const Plan& plan, const sparse_conv::Finish& finish, const sparse_conv::Tensors& tensors,
           int64_t threads);

  int64_t tasks() const { return tasks_; }
  // Runs one task; always true.
  bool run(int64_t task) const noexcept;

 private:
  // A part's pixels of all output channels of one image and group.
  void run_part(int64_t image, int64_t group, int64_t part) const noexcept;
  // The same for 16 output channels where the last stage is more than a clamp: `p` has all but where to put the result.
  void run_separate(Pixels p, int64_t at) const noexcept;

  const Kernel& kernel_;
  sparse_conv::FinishFn finish_fn_;
  const ChannelBlocks& weight_;
  const ConvShape& shape_;
  sparse_conv::Finish finish_;
  sparse_conv::Tensors tensors_;
  bool separate_finish_;
  Split vectors_;  // of the map, in parts of up to kPixelVectors
  int64_t tasks_;
};

}  // namespace onnxcomp::channel_conv
