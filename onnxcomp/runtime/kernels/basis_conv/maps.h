// X's channels, each convolved with every base: what the 1x1 convolution of a BasisConv takes as its input.
#pragma once

#include <cstdint>

#include "kernels/basis_conv/contract.h"
#include "kernels/basis_conv/plan.h"
#include "kernels/basis_conv/weight.h"
#include "kernels/sparse_conv/contract.h"
#include "kernels/sparse_conv/source.h"

namespace onnxcomp::basis_conv {

class Maps final : public sparse_conv::Source {
 public:
  // Keeps references to all arguments. The kernels must be for one instruction set, the plan for them, this shape and
  // weight; `x` is as sparse_conv::Tensors::x.
  Maps(const Kernel& kernel, const sparse_conv::Kernel& pointwise, const ConvShape& shape, const Weight& weight,
       const Plan& plan, const float* x)
      : kernel_(kernel), pointwise_(pointwise), shape_(shape), weight_(weight), plan_(plan), x_(x) {}

  int64_t scratch_floats() const override;
  void make(const sparse_conv::MapPart& part, float* scratch, float* vectors) const noexcept override;

 private:
  // What a tile that begins at pixel `first` needs of the phases of one channel, phase by phase.
  void take_phases(const float* channel, int64_t first, float* phases) const noexcept;
  // Rows of a phase, from the first one's place in X on; none where `rows` is not positive.
  void take_rows(const float* from, int64_t rows, float* to) const noexcept;
  // What each tap reads of one channel for pixels [first, last), tap by tap, zeros outside of it.
  void bring_together(const float* channel, int64_t first, int64_t last, float* taps) const noexcept;

  const Kernel& kernel_;
  const sparse_conv::Kernel& pointwise_;
  const ConvShape& shape_;
  const Weight& weight_;
  const Plan& plan_;
  const float* x_;
};

}  // namespace onnxcomp::basis_conv
