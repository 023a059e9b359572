#include "ops/stored_weight.h"

#include <string>

#include "ops/node.h"
#include "packing/channel_windows.h"

namespace onnxcomp {
namespace {

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

StoredForm read_stored_form(const Attributes& attributes, const ConvAttributes& conv, bool in_blocks) {
  const std::string structure = read_structure(attributes);
  const WeightShape shape = weight_shape(conv);
  if (in_blocks) return {shape, read_height(attributes, structure, shape), 0};
  const int64_t kept = kept_of(structure);
  if (kept == 0 && structure != "unstructured")
    fail("structure is '", structure, "', which this library does not know: only 'unstructured' and n:16 (n: 1 to 15)");
  return {shape, 1, kept};
}

StoredWeight read_stored_weight(const StoredForm& form, const ort::Tensor& mask, const ort::Tensor& values) {
  const int64_t columns = form.shape.channels * form.shape.taps;
  const int64_t bits = form.shape.groups * form.shape.outputs / form.height * columns;
  const BlockBitmap blocks = {read_mask_and_values(mask, values, bits), form.height, columns};
  blocks.check();
  if (form.kept > 0) {
    const int64_t most = most_in_window(blocks.stored, form.shape);
    if (most > form.kept)
      fail("structure is '", form.kept, ":16', but a window of 16 input channels holds ", most, " values");
  }
  return {blocks, form.kept};
}

}  // namespace onnxcomp
