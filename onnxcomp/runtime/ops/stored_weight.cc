#include "ops/stored_weight.h"

#include <string>

#include "ops/node.h"
#include "packing/channel_windows.h"

namespace onnxcomp {
namespace {

constexpr size_t kMask = 1;  // index of the input; values is the next

std::string read_structure(const Attributes& attributes) {
  const auto structure = attributes.string("structure");
  if (!structure) fail("attribute structure is missing");
  check_decoded_type(attributes);
  return *structure;
}

// The n of "n:16", 1 to 15; 0 where it is something else.
int64_t kept_of(const std::string& structure) {
  for (int64_t n = 1; n < kChannels; ++n) {
    if (structure == text(n) + ":16") return n;
  }
  return 0;
}

int64_t read_height(const Attributes& attributes, const std::string& structure, const WeightShape& shape) {
  if (structure != "4x1" && structure != "16x1")
    fail("structure is '", structure, "', which this library does not know: only '4x1' and '16x1' in blocks");
  const int64_t height = structure == "4x1" ? 4 : 16;
  const auto block = attributes.integers("block");
  if (!block) fail("attribute block is missing");
  if (*block != std::vector<int64_t>{height}) fail("block is ", text(*block), ", structure is '", structure, "'");
  if (shape.outputs % height != 0)
    fail("blocks of ", height, " do not divide the ", shape.outputs, " output channels of a group");
  return height;
}

}  // namespace

WeightShape weight_shape(const ConvAttributes& conv) {
  int64_t taps = 1;
  for (const ConvAxis& axis : conv.axes) taps *= axis.kernel;
  return {conv.group, conv.weight_shape[0] / conv.group, conv.weight_shape[1], taps};
}

StoredWeight read_stored_weight(const OrtApi& api, const OrtKernelInfo* info, const ConvAttributes& conv,
                                bool in_blocks) {
  const KernelAttributes attributes(api, info);
  const std::string structure = read_structure(attributes);
  const WeightShape shape = weight_shape(conv);
  const int64_t columns = shape.channels * shape.taps;
  const int64_t outputs = shape.groups * shape.outputs;
  if (in_blocks) {
    const int64_t height = read_height(attributes, structure, shape);
    const BlockBitmap blocks = {read_mask_and_values(api, info, kMask, outputs / height * columns), height, columns};
    blocks.check();
    return {blocks, 0};
  }
  const int64_t kept = kept_of(structure);
  if (kept == 0 && structure != "unstructured")
    fail("structure is '", structure, "', which this library does not know: only 'unstructured' and n:16 (n: 1 to 15)");
  const Bitmap elements = read_bitmap(api, info, kMask, outputs * columns);
  if (kept > 0) {
    const int64_t most = most_in_window(elements, shape);
    if (most > kept)
      fail("structure is '", structure, "', but a window of 16 input channels holds ", most, " values");
  }
  return {{elements, 1, columns}, kept};
}

}  // namespace onnxcomp
