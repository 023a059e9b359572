// Memory of one task: thread_local, so that it is paid for once, and bounded, so that it is not kept for ever.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace onnxcomp::sparse_conv {

// Hands out aligned pieces of one thread's memory. Sizes are added up first, then pieces are taken in the same order.
class Workspace {
 public:
  static constexpr size_t kAlignment = 64;

  // Room for one piece of `count` elements.
  template <class Element>
  static size_t piece(int64_t count) {
    return (static_cast<size_t>(count) * sizeof(Element) + kAlignment - 1) / kAlignment * kAlignment;
  }

  // This thread's memory, at least `bytes` of it. `ok()` is false where the system has none.
  explicit Workspace(size_t bytes) noexcept;
  // Gives memory back beyond what is worth keeping.
  ~Workspace();
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  bool ok() const { return next_ != nullptr; }

  template <class Element>
  Element* take(int64_t count) {
    char* taken = next_;
    next_ += piece<Element>(count);
    return reinterpret_cast<Element*>(taken);
  }

 private:
  char* next_;
};

}  // namespace onnxcomp::sparse_conv
