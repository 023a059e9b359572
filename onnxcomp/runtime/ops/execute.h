// A run's tasks on the runtime's threads.
#pragma once

#include <atomic>

#include "abi.h"
#include "error.h"
#include "ort.h"

namespace onnxcomp {

// Runs all tasks. Whether any but this one took part.
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
