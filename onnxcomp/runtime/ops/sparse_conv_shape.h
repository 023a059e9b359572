// The output's shape, as far as the input's is known, while the runtime loads the model.
#pragma once

#include "abi.h"

namespace onnxcomp {

// Sets Y's shape from X's and the attributes; symbolic dimensions become expressions in X's names. Y's rank and channels
// follow from the weight, whatever is known of X. Throws Error on attributes that make no convolution.
void infer_sparse_conv_shape(const OrtApi& api, OrtShapeInferContext* context);

}  // namespace onnxcomp
