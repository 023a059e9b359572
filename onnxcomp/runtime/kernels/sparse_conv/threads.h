// How many threads a node's tasks find: ONNX Runtime does not say, and on one thread work is not to be cut up for two.
#pragma once

#include <atomic>
#include <cstdint>

namespace onnxcomp::sparse_conv {

// Watches runs of one node. As many threads as there are processors are expected once a second one has been seen, in
// the first few runs, and now and then until it is. What was seen is not forgotten: a pool that slept through some runs
// is still there, and nodes that gave it up would let it sleep.
class Threads {
 public:
  explicit Threads(int64_t processors) : processors_(processors) {}

  // To cut the next run up for.
  int64_t expected() const {
    if (seen_.load(std::memory_order_relaxed)) return processors_;
    const uint32_t runs = runs_.load(std::memory_order_relaxed);
    return runs < kFirst || runs % kTryAgain == 0 ? processors_ : 1;
  }

  // After a run: whether any thread but the caller's took part.
  void record(bool shared) {
    runs_.fetch_add(1, std::memory_order_relaxed);
    if (shared) seen_.store(true, std::memory_order_relaxed);
  }

 private:
  static constexpr uint32_t kFirst = 8;
  static constexpr uint32_t kTryAgain = 16;

  int64_t processors_;
  std::atomic<bool> seen_ = false;
  std::atomic<uint32_t> runs_ = 0;
};

}  // namespace onnxcomp::sparse_conv
