// The output's shape, as far as the input's is known, while the runtime loads the model.
#pragma once

#include "abi.h"
#include "ops/conv_attributes.h"

namespace onnxcomp {

// Sets Y's shape from X's, which is input 0; symbolic dimensions become expressions in X's names. Y's rank and channels
// follow from the weight, whatever is known of X. Throws Error where X is smaller than the kernel.
void infer_conv_shape(const OrtApi& api, OrtShapeInferContext* context, const ConvAttributes& conv);

}  // namespace onnxcomp
