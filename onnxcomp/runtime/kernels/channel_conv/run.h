// One execution of a sparse convolution over vectors of output channels, cut into tasks that may run in any order and
// at the same time.
#pragma once

#include <cstdint>

#include "kernels/channel_conv/contract.h"
#include "kernels/channel_conv/plan.h"
#include "kernels/sparse_conv/run.h"

namespace onnxcomp::channel_conv {

using sparse_conv::Finish;
using sparse_conv::FinishFn;
using sparse_conv::Tensors;

class Run {
 public:
  // Keeps references to all arguments but `finish` and `tensors`. The plan must be for this shape and weight;
  // `finish_fn` for vectors of 16 floats. The work is cut up for `threads`.
  Run(const Kernel& kernel, FinishFn finish_fn, const Weight& weight, const ConvShape& shape, const Plan& plan,
      const Finish& finish, const Tensors& tensors, int64_t threads);

  int64_t tasks() const { return tasks_; }
  // Runs one task. False where its scratch could not be allocated; the output is then incomplete.
  bool run(int64_t task) const noexcept;

 private:
  // A strip of one image and group, with some of its rows of 16 output channels.
  struct Unit {
    int64_t image;
    int64_t group;
    int64_t part_y;
    int64_t part_x;
    int64_t first_row;
    int64_t rows;
    int64_t input;  // units with the same have the same scratch
  };
  // A tile in the output map.
  struct Place {
    int64_t y;
    int64_t x;
    int64_t major;
    int64_t minor;

    int64_t floats() const { return major * minor * kChannels; }
  };
  struct Scratch {
    float* input;     // [windows][rows][columns][16]
    float* partial;   // [rows of a unit][tile][16]
    float* finished;  // [tile][16]
    float* residual;  // [tile][16]
  };

  Unit unit(int64_t index) const;
  void choose_tasks(int64_t threads);
  void gather(const Unit& unit, float* scratch) const noexcept;
  void run_tile(const Unit& unit, const Place& tile, const Scratch& scratch) const noexcept;
  void multiply(const Unit& unit, const Place& tile, int64_t block, int64_t row, const Sums& sums) const noexcept;
  void finish_row(const Unit& unit, const Place& tile, const Scratch& scratch, int64_t row) const noexcept;
  // Calls visit(offset in the plane, first vector, count) for each piece of up to 16 pixels of a tile.
  template <class Visit>
  void for_each_piece(const Place& tile, Visit visit) const noexcept;

  int64_t windows() const { return (shape_.weight.channels + kChannels - 1) / kChannels; }
  int64_t rows() const { return (shape_.weight.outputs + kChannels - 1) / kChannels; }
  int32_t channels_of(int64_t row) const;  // 16, or fewer in a group's last row

  const Kernel& kernel_;
  FinishFn finish_fn_;
  const Weight& weight_;
  const ConvShape& shape_;
  const Plan& plan_;
  Finish finish_;
  Tensors tensors_;
  bool separate_finish_;  // the last stage is more than a clamp
  int64_t blocks_;        // of input channels
  int64_t parts_;         // of a group's rows
  int64_t tasks_;
};

}  // namespace onnxcomp::channel_conv
