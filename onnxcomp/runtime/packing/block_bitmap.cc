#include "packing/block_bitmap.h"

#include "error.h"

namespace onnxcomp {

void BlockBitmap::check() const {
  if (stored.count % height != 0)
    fail("values has ", stored.count, " elements, which blocks of ", height, " do not divide");
  Bitmap blocks = stored;
  blocks.count = kept();
  blocks.check();
}

}  // namespace onnxcomp
