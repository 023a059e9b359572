#include "kernels/sparse_conv/workspace.h"

#include <cstdlib>

namespace onnxcomp::sparse_conv {
namespace {

constexpr size_t kKeptBytes = size_t{8} << 20;

struct Free {
  void operator()(char* memory) const { std::free(memory); }
};
struct ThreadMemory {
  std::unique_ptr<char, Free> memory;
  size_t bytes = 0;

  void resize(size_t wanted) {
    memory.reset();
    memory.reset(static_cast<char*>(wanted > 0 ? std::aligned_alloc(Workspace::kAlignment, wanted) : nullptr));
    bytes = memory ? wanted : 0;
  }
};
thread_local ThreadMemory thread_memory;

}  // namespace

Workspace::Workspace(size_t bytes) noexcept {
  if (thread_memory.bytes < bytes) thread_memory.resize((bytes + kAlignment - 1) / kAlignment * kAlignment);
  next_ = thread_memory.memory.get();
}

Workspace::~Workspace() {
  if (thread_memory.bytes > kKeptBytes) thread_memory.resize(0);
}

}  // namespace onnxcomp::sparse_conv
