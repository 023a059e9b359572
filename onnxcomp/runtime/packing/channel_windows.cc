#include "packing/channel_windows.h"

#include <algorithm>
#include <vector>

namespace onnxcomp {
namespace {

// An element of the weight: its output channel counted over all groups, and where it is on the input side.
struct Element {
  int64_t output;
  int64_t window;
  int64_t tap;
  uint8_t place;
};

Element locate(const WeightShape& shape, int64_t element) {
  const int64_t channel = element / shape.taps % shape.channels;
  return {element / shape.taps / shape.channels, channel / kChannels, element % shape.taps,
          static_cast<uint8_t>(channel % kChannels)};
}

// Calls visit(element, index of its value, how many its window had before it).
template <class Visit>
void for_each_in_window(const Bitmap& bitmap, const WeightShape& shape, Visit visit) {
  std::vector<uint8_t> seen(shape.taps);  // by tap, in the current window of the current output
  int64_t output = 0;
  int64_t window = 0;
  bitmap.for_each([&](int64_t i, int64_t index) {
    const Element element = locate(shape, i);
    if (element.output != output || element.window != window) std::fill(seen.begin(), seen.end(), uint8_t{0});
    output = element.output;
    window = element.window;
    visit(element, index, seen[element.tap]++);
  });
}

}  // namespace

int64_t most_in_window(const Bitmap& bitmap, const WeightShape& shape) {
  int64_t most = 0;
  for_each_in_window(bitmap, shape,
                     [&](const Element&, int64_t, uint8_t before) { most = std::max<int64_t>(most, before + 1); });
  return most;
}

ChannelWindows pack_channel_windows(const Bitmap& bitmap, const WeightShape& shape, int64_t kept) {
  ChannelWindows packed{shape, kept, (shape.outputs + kChannels - 1) / kChannels,
                        (shape.channels + kChannels - 1) / kChannels, {}, {}};
  packed.value.assign(packed.first(shape.groups, 0, 0), 0.0f);
  packed.place.assign(packed.value.size() + kChannels, 0);
  for_each_in_window(bitmap, shape, [&](const Element& element, int64_t index, uint8_t before) {
    const int64_t output = element.output % shape.outputs;
    const int64_t first = packed.first(element.output / shape.outputs, output / kChannels, element.window);
    const int64_t at = first + (element.tap * kept + before) * kChannels + output % kChannels;
    packed.value[at] = bitmap.value(index);
    packed.place[at] = element.place;
  });
  return packed;
}

}  // namespace onnxcomp
