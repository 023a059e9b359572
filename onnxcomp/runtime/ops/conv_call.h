// What operators that convolve share: shapes from attributes, a run's tensors, and its tasks on the runtime's threads.
#pragma once

#include <atomic>
#include <optional>

#include "abi.h"
#include "error.h"
#include "kernels/sparse_conv/run.h"
#include "ops/conv_attributes.h"
#include "ort.h"

namespace onnxcomp {

// The shape to pack a weight for: batch 1, X's sizes as the model declares them; typical ones, and no less than the
// kernel, where it does not.
sparse_conv::ConvShape expected_shape(const ConvAttributes& conv, const OrtApi& api, const OrtKernelInfo* info);

// One run of a node whose input 0 is X and whose output is Y.
struct ConvCall {
  sparse_conv::ConvShape shape;
  sparse_conv::Tensors tensors;
  bool empty;  // Y has no elements: nothing is to be done

  // Checks the inputs and allocates the output. Throws Error where they do not fit the weight.
  static ConvCall read(const OrtApi& api, OrtKernelContext* context, const ConvAttributes& conv, size_t bias,
                       std::optional<size_t> residual);
};

// Runs all tasks on the runtime's threads. Whether any but this one took part.
template <class Run>
bool execute(const OrtApi& api, const OrtKernelContext* context, const Run& run) {
  static thread_local char this_thread;
  struct Shared {
    const Run& run;
    const char* caller;
    std::atomic<bool> others = false;
    std::atomic<bool> out_of_memory = false;
  } shared{run, &this_thread};
  const auto body = [](void* data, size_t task) noexcept {
    auto& s = *static_cast<Shared*>(data);
    if (&this_thread != s.caller) s.others = true;
    if (!s.run.run(static_cast<int64_t>(task))) s.out_of_memory = true;
  };
  if (run.tasks() == 1) {
    body(&shared, 0);
  } else {
    ort::check(api, api.KernelContext_ParallelFor(context, body, run.tasks(), 0, &shared));
  }
  if (shared.out_of_memory) fail("out of memory for the kernel's scratch");
  return shared.others;
}

}  // namespace onnxcomp
