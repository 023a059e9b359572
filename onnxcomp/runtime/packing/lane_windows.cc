#include "packing/lane_windows.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

namespace onnxcomp {
namespace {

constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

// The rows of one group, read from their front.
struct Group {
  std::array<MatrixRows::Row, LaneWindows::kLanes> lane;
  std::array<size_t, LaneWindows::kLanes> used;
  std::array<uint32_t, LaneWindows::kLanes> next;  // each lane's next column

  void read(const MatrixRows& matrix, const uint32_t* rows) {
    for (size_t l = 0; l < lane.size(); ++l) {
      lane[l].column.clear();
      if (rows[l] < matrix.rows()) matrix.read(rows[l], lane[l]);
      lane[l].column.push_back(kNone);
      used[l] = 0;
      next[l] = lane[l].column[0];
    }
  }
};

// Appends steps until every row of the group is used up.
void append(LaneWindows& packed, Group& group) {
  for (;;) {
    const uint32_t lowest = *std::min_element(group.next.begin(), group.next.end());
    if (lowest == kNone) return;
    const uint32_t first = lowest / LaneWindows::kGrid * LaneWindows::kGrid;
    uint32_t mask = 0;
    for (size_t l = 0; l < group.next.size(); ++l) {
      const uint32_t offset = group.next[l] - first;
      if (offset >= LaneWindows::kWindow) continue;
      mask |= 1u << l;
      packed.offset.push_back(static_cast<uint8_t>(offset));
      packed.value.push_back(group.lane[l].value[group.used[l]]);
      group.next[l] = group.lane[l].column[++group.used[l]];
    }
    packed.mask.push_back(static_cast<uint16_t>(mask));
    packed.window.push_back(static_cast<uint16_t>(first / LaneWindows::kGrid));
  }
}

// Rows by falling length, filled up to whole groups.
std::vector<uint32_t> sorted_rows(const MatrixRows& matrix) {
  std::vector<uint32_t> rows(matrix.rows());
  std::iota(rows.begin(), rows.end(), 0);
  std::stable_sort(rows.begin(), rows.end(),
                   [&](uint32_t a, uint32_t b) { return matrix.length(a) > matrix.length(b); });
  const size_t lanes = LaneWindows::kLanes;
  rows.resize((rows.size() + lanes - 1) / lanes * lanes, static_cast<uint32_t>(matrix.rows()));
  return rows;
}

}  // namespace

LaneWindows pack_lane_windows(const MatrixRows& matrix) {
  LaneWindows packed{matrix.rows(), matrix.columns(), sorted_rows(matrix), {0}, {0}, {}, {}, {}, {}};
  const auto room = static_cast<size_t>(matrix.nonzeros() + LaneWindows::kLanes);
  packed.offset.reserve(room);
  packed.value.reserve(room);
  Group group;
  for (size_t first = 0; first < packed.row.size(); first += LaneWindows::kLanes) {
    group.read(matrix, packed.row.data() + first);
    append(packed, group);
    packed.step_begin.push_back(static_cast<uint32_t>(packed.mask.size()));
    packed.entry_begin.push_back(static_cast<int64_t>(packed.value.size()));
  }
  packed.offset.resize(room);
  packed.value.resize(room);
  packed.mask.shrink_to_fit();
  packed.window.shrink_to_fit();
  return packed;
}

}  // namespace onnxcomp
