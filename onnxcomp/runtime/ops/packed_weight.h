// A weight made ready for its kernel out of an input: once where that is a constant, else in every run.
//
// Its nonzeros may come from a codebook (onnxcomp/formats/codebook.py). The runtime folds that into a constant, but not
// where its optimisations are switched off.
#pragma once

#include <memory>

#include "abi.h"
#include "ort.h"

namespace onnxcomp {

template <class Weight>
class PackedWeight {
 public:
  explicit PackedWeight(size_t index) : index_(index) {}

  // Packs the input where it is a constant. `pack(tensor)` returns std::unique_ptr<const Weight>.
  template <class Pack>
  void create(const OrtApi& api, const OrtKernelInfo* info, Pack pack) {
    if (const auto tensor = ort::constant_input(api, info, index_)) constant_ = pack(*tensor);
  }

  // Calls use(weight). May be called in several threads at once.
  template <class Pack, class Use>
  void with(const OrtApi& api, const OrtKernelContext* context, Pack pack, Use use) const {
    if (constant_) return use(*constant_);
    const std::unique_ptr<const Weight> computed = pack(ort::input(api, context, index_));
    use(*computed);
  }

 private:
  size_t index_;
  std::unique_ptr<const Weight> constant_;
};

}  // namespace onnxcomp
