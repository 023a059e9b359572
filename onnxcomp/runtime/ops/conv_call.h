// What operators that convolve share: shapes from attributes, and a run's tensors.
#pragma once

#include <optional>

#include "abi.h"
#include "kernels/sparse_conv/run.h"
#include "ops/conv_attributes.h"

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

}  // namespace onnxcomp
