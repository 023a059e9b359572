// The stored format of a weight whose zeros come in blocks, as onnxcomp/formats/block_bitmap.py defines it.
//
//   mask    [ceil(blocks / 8)]  as a bitmap's (bitmap.h), a bit a block: row-major over (outputs / height, columns)
//   values  [kept * height]     all elements of the blocks kept, block by block
//
// A column is an input channel at a tap. Element r of block (i, column) is output i * height + r.
#pragma once

#include <cstdint>

#include "packing/bitmap.h"

namespace onnxcomp {

struct BlockBitmap {
  Bitmap stored;  // mask, values and their `count` as in the file; `elements` is the number of blocks
  int64_t height;
  int64_t columns;  // input channels of a group * taps

  // Throws Error where mask, values and the number of blocks disagree. Everything below relies on it.
  void check() const;

  int64_t kept() const { return stored.count / height; }

  // Calls visit(row of blocks, column, index): value r of the block is stored.value(index * height + r).
  template <class Visit>
  void for_each(Visit visit) const {
    stored.for_each([&](int64_t block, int64_t index) { visit(block / columns, block % columns, index); });
  }
};

}  // namespace onnxcomp
