#include "packing/block_bitmap.h"

#include <utility>

#include "error.h"

namespace onnxcomp {

void BlockBitmap::check() const {
  if (stored.count % height != 0)
    fail("values has ", stored.count, " elements, which blocks of ", height, " do not divide");
  Bitmap blocks = stored;
  blocks.count = kept();
  blocks.check();
}

OwnedBitmap expand(const BlockBitmap& blocks) {
  const int64_t elements = blocks.stored.elements * blocks.height;
  OwnedBitmap expanded{std::vector<uint8_t>((elements + 7) / 8), {}, elements};
  expanded.values.reserve(blocks.stored.count);
  std::vector<std::pair<int64_t, int64_t>> row;  // column and index of the blocks of one row
  int64_t current = 0;
  const auto write_row = [&] {
    for (int64_t r = 0; r < blocks.height; ++r) {
      for (const auto& [column, index] : row) {
        const int64_t element = (current * blocks.height + r) * blocks.columns + column;
        expanded.mask[element / 8] |= static_cast<uint8_t>(1u << element % 8);
        expanded.values.push_back(blocks.stored.value(index * blocks.height + r));
      }
    }
    row.clear();
  };
  blocks.for_each([&](int64_t block_row, int64_t column, int64_t index) {
    if (block_row != current) write_row();
    current = block_row;
    row.emplace_back(column, index);
  });
  write_row();
  return expanded;
}

}  // namespace onnxcomp
