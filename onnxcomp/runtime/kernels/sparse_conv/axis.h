// Where a tile's input lies along one axis: which inputs it reads and in which order they stand in the scratch.
//
// Position p of the tile under tap k reads input p * stride + k * dilation, relative to the tile's origin. The scratch
// is ordered so that for each tap the tile's positions stand in successive slots, whatever the stride: inputs are
// sorted by their residue modulo the stride first. Runs of successive slots are shared between taps where they overlap,
// and inputs that no tap reads get no slot: a strided 1x1 kernel or a widely dilated one packs only what it uses.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/sparse_conv/contract.h"
#include "kernels/sparse_conv/shape.h"

namespace onnxcomp::sparse_conv {

class Axis {
 public:
  // For a tile with `positions` along the axis.
  Axis(const AxisShape& shape, int64_t positions);

  int64_t positions() const { return positions_; }
  int64_t slots() const { return static_cast<int64_t>(input_.size()); }
  // The slot of position 0 under `tap`; position p stands p further.
  int64_t start(int64_t tap) const { return start_[tap]; }
  // The input in `slot`, relative to the tile's origin.
  int64_t input(int64_t slot) const { return input_[slot]; }

  // A slot that holds, in each lane, what slot `from` holds in the lane `step` further along the axis: 1 or -1.
  struct Loan {
    int64_t slot;
    int64_t from;
    int64_t step;
  };
  // To be called where a tile spans the whole of its lane's block: most of what a lane reads outside of its block is
  // then what a neighbour reads inside of its own.
  void borrow(const AxisShape& shape, int64_t lanes);
  const std::vector<Loan>& loans() const { return loans_; }
  // The slots that are not on loan: they come from memory.
  std::vector<int64_t> own() const;

  // The own inputs as runs of up to `columns` neighbours; a chunk's slots are multiplied by `step`.
  std::vector<LaneChunk> chunks(int columns, int64_t step) const;

 private:
  int64_t positions_;
  std::vector<int64_t> start_;
  std::vector<int64_t> input_;
  std::vector<Loan> loans_;
};

}  // namespace onnxcomp::sparse_conv
