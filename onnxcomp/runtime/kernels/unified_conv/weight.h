// A weight in blocks of one magnitude, packed for the kernels of sparse_conv in the way that is predicted the fastest:
// as it is, or rewritten with sums of input channels (sign_sums.h), which are formed a tile at a time.
#pragma once

#include "kernels/sparse_conv/contract.h"
#include "kernels/sparse_conv/plan.h"
#include "kernels/sparse_conv/shape.h"
#include "packing/blocked_csr.h"
#include "packing/sign_sums.h"

namespace onnxcomp::unified_conv {

using sparse_conv::ConvShape;

// `expected` is the shape the weight is packed for.
BlockedCsr pack_weight(const sparse_conv::Kernel& kernel, const ConvShape& expected, const WeightRows& rows);

// For a packed weight; a sparse_conv::Run takes it with `shape` itself.
sparse_conv::Plan make_plan(const sparse_conv::Kernel& kernel, const ConvShape& shape, const BlockedCsr& weight);

}  // namespace onnxcomp::unified_conv
