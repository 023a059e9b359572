// A weight in blocks of one magnitude as it stands in the model, checked.
#pragma once

#include "abi.h"
#include "packing/unified.h"

namespace onnxcomp {

constexpr size_t kUnifiedInputs = 4;  // kinds, scales, digits, values

// Reads attributes `block`, `levels` and `to` and the inputs from `first` on, for a weight of `shape`. Throws Error where
// they disagree with one another. Keeps pointers to constants of the model, which live as long as the session.
UnifiedWeight read_unified_weight(const OrtApi& api, const OrtKernelInfo* info, size_t first, const WeightShape& shape);

}  // namespace onnxcomp
