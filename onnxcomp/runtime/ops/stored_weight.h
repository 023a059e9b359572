// A SparseConv's weight as it stands in the model, checked.
#pragma once

#include "abi.h"
#include "ops/conv_attributes.h"
#include "ort.h"
#include "packing/bitmap.h"
#include "packing/block_bitmap.h"
#include "packing/blocked_csr.h"

namespace onnxcomp {

// What the attributes say of it.
struct StoredForm {
  WeightShape shape;
  int64_t height;  // of blocks; 1 in a SparseConv, whose bitmap is of single elements
  int64_t kept;    // the n of structure n:16; 0 where there is another
};

// Pointers are to the mask and the values that it was read from.
struct StoredWeight {
  BlockBitmap blocks;  // of a SparseConv: single elements, blocks of height 1
  int64_t kept;        // the n of structure n:16; 0 where there is another
};

WeightShape weight_shape(const ConvAttributes& conv);

// Reads attributes `structure`, `block` and `to`. `in_blocks`: of a BlockSparseConv. Throws Error where they disagree.
StoredForm read_stored_form(const Attributes& attributes, const ConvAttributes& conv, bool in_blocks);

// Throws Error where inputs and form disagree, or the weight breaks what its structure promises.
StoredWeight read_stored_weight(const StoredForm& form, const ort::Tensor& mask, const ort::Tensor& values);

}  // namespace onnxcomp
