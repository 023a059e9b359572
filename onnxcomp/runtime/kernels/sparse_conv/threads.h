// How many threads a node's tasks find: ONNX Runtime does not say, and on one thread work is not to be cut up for two.
#pragma once

#include <atomic>
#include <cstdint>

namespace onnxcomp::sparse_conv {

// Watches runs of one node. As many threads as there are processors are expected, until a few runs in a row have been
// done by their caller alone; then one, except that now and then the pool is tried again.
class Threads {
 public:
  explicit Threads(int64_t processors) : processors_(processors) {}

  // To cut the next run up for.
  int64_t expected() const { return alone_.load(std::memory_order_relaxed) < kEnough ? processors_ : 1; }

  // After a run: whether any thread but the caller's took part.
  void record(bool shared) {
    const uint32_t alone = alone_.load(std::memory_order_relaxed) + 1;
    alone_.store(shared || alone == kTryAgain ? 0 : alone, std::memory_order_relaxed);
  }

 private:
  static constexpr uint32_t kEnough = 8;
  static constexpr uint32_t kTryAgain = 256;

  int64_t processors_;
  std::atomic<uint32_t> alone_ = 0;
};

}  // namespace onnxcomp::sparse_conv
