// A sparse matrix as one vector instruction after another wants it: 16 rows side by side, a lane each.
//
// Rows are sorted by falling length and taken 16 at a time. A *step* serves the rows of a group that have their next
// nonzero within one window of 32 columns, two vectors of the other factor: a permutation of both fetches every lane's
// element. The lanes of a step are a mask; values and offsets of the lanes that take part stand close together, so an
// entry is 5 bytes and its share of a step's 4. At 90 % zeros a step serves 10 of the 16 lanes.
#pragma once

#include <cstdint>
#include <vector>

#include "packing/matrix_rows.h"

namespace onnxcomp {

struct LaneWindows {
  static constexpr int64_t kLanes = 16;
  static constexpr int64_t kWindow = 32;
  static constexpr int64_t kGrid = 16;                          // windows begin at multiples of it: aligned loads
  static constexpr int64_t kMostColumns = int64_t{1} << 20;     // for 16-bit window numbers
  int64_t rows;
  int64_t columns;
  std::vector<uint32_t> row;         // [groups * 16] the row in each lane; `rows` in lanes that stay empty
  std::vector<uint32_t> step_begin;  // [groups + 1]
  std::vector<int64_t> entry_begin;  // [groups + 1]
  std::vector<uint16_t> mask;        // [steps] lanes that take part
  std::vector<uint16_t> window;      // [steps] its first column / kGrid
  std::vector<uint8_t> offset;       // [entries + 16] column within the window; the last 16 are read, not used
  std::vector<float> value;          // [entries + 16]

  int64_t groups() const { return static_cast<int64_t>(step_begin.size()) - 1; }
  // Columns that are read, past the last where a window reaches there.
  static int64_t padded(int64_t columns) { return (columns + kGrid - 1) / kGrid * kGrid + kGrid; }
};

// At most LaneWindows::kMostColumns columns.
LaneWindows pack_lane_windows(const MatrixRows& matrix);

}  // namespace onnxcomp
