// One execution of a sparse convolution, cut into tasks that may run in any order and at the same time.
#pragma once

#include <cstdint>

#include "kernels/sparse_conv/contract.h"
#include "kernels/sparse_conv/plan.h"
#include "kernels/sparse_conv/shape.h"
#include "kernels/sparse_conv/source.h"

namespace onnxcomp::sparse_conv {

struct Tensors {
  const float* x;         // [batch, input channels, y.input, x.input]
  const float* bias;      // [output channels]
  const float* residual;  // as y, or null
  float* y;               // [batch, output channels, y.output, x.output]
};

class Run {
 public:
  // Keeps references to all arguments but finish, tensors and threads. The plan must be for this kernel, shape and
  // weight. The work is cut up for `threads`. Where there is a source, the convolution is 1x1 of stride 1 and its input
  // comes from there, in blocks of the weight's input channels; `tensors.x` is not used. Of a weight of sums, `shape`
  // has the input's own channels and the plan those of the weight.
  Run(const Kernel& kernel, const BlockedCsr& weight, const ConvShape& shape, const Plan& plan, const Finish& finish,
      const Tensors& tensors, int64_t threads, const Source* source = nullptr);

  int64_t tasks() const { return tasks_; }
  // Runs one task. False where its scratch could not be allocated; the output is then incomplete.
  bool run(int64_t task) const noexcept;

 private:
  // Rows [first, first + rows) of each block of one group's weight.
  struct Unit {
    int64_t group;
    int64_t first;
    int64_t rows;
  };
  struct Scratch {
    float* input;     // [block][channel vectors][L]
    float* source;    // the source's own
    float* partial;   // [rows of a unit][height][tile][L], where there are several blocks
    float* finished;  // [kRowsAtOnce][height][tile][L]
  };

  // Channels [first, first + count) of the weight's, as many of the plan's block; `x` is the group's first plane.
  template <class Placement>
  void load_input(const Placement& tile, const float* x, int64_t first, int64_t count, float* vectors) const noexcept;
  template <class Placement>
  bool run_tiles(int64_t task) const noexcept;
  template <class Placement>
  void run_unit(const Placement& tile, const Scratch& scratch, int64_t image, const Unit& unit,
                bool more) const noexcept;
  template <class Placement>
  void finish_rows(const Placement& tile, const Scratch& scratch, int64_t first_plane, Multiply& rows) const noexcept;

  void multiply(const TileLayout& tile, Multiply m) const noexcept;
  Unit unit(int64_t index) const;  // the first is the largest
  void choose_tasks(int64_t threads);

  const Kernel& kernel_;
  const BlockedCsr& weight_;
  const ConvShape& shape_;
  const Plan& plan_;
  Finish finish_;
  Tensors tensors_;
  const Source* source_;
  bool in_place_;     // read the input without a scratch
  bool fetch_ahead_;  // a tile's input while the one before it is multiplied
  bool stream_;       // write the output past the caches: they could not keep it for who reads it
  int64_t parts_;     // units of a group
  int64_t tasks_;
};

}  // namespace onnxcomp::sparse_conv
