// Memory for arrays that kernels read a cache line at a time.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace onnxcomp {

template <class Element>
struct CacheLineAllocator {
  using value_type = Element;
  static constexpr std::align_val_t kAlignment{64};

  CacheLineAllocator() = default;
  template <class Other>
  CacheLineAllocator(const CacheLineAllocator<Other>&) {}

  Element* allocate(size_t count) {
    return static_cast<Element*>(::operator new(count * sizeof(Element), kAlignment));
  }
  void deallocate(Element* memory, size_t) { ::operator delete(memory, kAlignment); }
  friend bool operator==(const CacheLineAllocator&, const CacheLineAllocator&) { return true; }
};

template <class Element>
using AlignedVector = std::vector<Element, CacheLineAllocator<Element>>;

}  // namespace onnxcomp
