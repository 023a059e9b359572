// A SparseConv's weight as it stands in the model, checked.
#pragma once

#include "abi.h"
#include "ops/conv_attributes.h"
#include "packing/bitmap.h"
#include "packing/block_bitmap.h"
#include "packing/blocked_csr.h"

namespace onnxcomp {

// Pointers are to constants of the model, which live as long as the session.
struct StoredWeight {
  BlockBitmap blocks;  // of a SparseConv: single elements, blocks of height 1
  int64_t kept;        // the n of structure n:16; 0 where there is another
};

WeightShape weight_shape(const ConvAttributes& conv);

// Reads attributes `structure`, `block` and `to` and inputs `mask` and `values`. `in_blocks`: of a BlockSparseConv.
// Throws Error where they disagree with one another, or the weight breaks what its structure promises.
StoredWeight read_stored_weight(const OrtApi& api, const OrtKernelInfo* info, const ConvAttributes& conv,
                                bool in_blocks);

}  // namespace onnxcomp
