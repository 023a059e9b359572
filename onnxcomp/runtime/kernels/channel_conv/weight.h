// A packed weight of either kind, seen alike by planning and running.
#pragma once

#include <variant>

#include "packing/channel_blocks.h"
#include "packing/channel_windows.h"

namespace onnxcomp::channel_conv {

class Weight {
 public:
  explicit Weight(ChannelBlocks blocks) : packed_(std::move(blocks)) {}
  explicit Weight(ChannelWindows windows) : packed_(std::move(windows)) {}

  const ChannelBlocks* blocks() const { return std::get_if<ChannelBlocks>(&packed_); }
  const ChannelWindows* windows() const { return std::get_if<ChannelWindows>(&packed_); }
  const WeightShape& shape() const { return blocks() != nullptr ? blocks()->shape : windows()->shape; }

 private:
  std::variant<ChannelBlocks, ChannelWindows> packed_;
};

}  // namespace onnxcomp::channel_conv
