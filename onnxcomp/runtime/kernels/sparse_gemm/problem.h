// A fully connected layer with random data, for the test and the benchmark, packed as when a session is created.
#pragma once

#include <memory>
#include <vector>

#include "kernels/sparse_conv/dispatch.h"
#include "kernels/sparse_gemm/dispatch.h"
#include "kernels/sparse_gemm/run.h"
#include "testing.h"

namespace onnxcomp::sparse_gemm {

struct Problem {
  int64_t rows;     // M
  int64_t outputs;  // N
  int64_t columns;  // K
  double density;
  Finish finish = {Activation::none, 0, 0, 0};
};

struct Data {
  Data(const Problem& p, std::mt19937& random)
      : weight(testing::sparse_normal(random, p.outputs * p.columns, p.density)),
        x(testing::normal(random, p.rows * p.columns)),
        bias(testing::normal(random, p.outputs)),
        y(p.rows * p.outputs, 1e30f) {
    const testing::PackedWeight packed(weight);
    const Bitmap bitmap = packed.bitmap();
    const MatrixRows matrix(bitmap, p.columns);
    windows = pack_lane_windows(matrix);
    blocks = pack_column_blocks(matrix);
  }

  Tensors tensors(const Problem& p) { return {p.rows, x.data(), bias.data(), y.data()}; }
  // By LaneWindows or by ColumnBlocks.
  std::unique_ptr<Run> run(Isa isa, const Problem& p, bool by_windows) {
    const Kernel& kernel = kernel_for(isa);
    const LastStage last = {p.finish, sparse_conv::kernel_for(isa).finish};
    if (by_windows) return std::make_unique<WindowsRun>(kernel, windows, last, tensors(p));
    return std::make_unique<RowsRun>(kernel, blocks, last, tensors(p));
  }

  std::vector<float> weight;
  std::vector<float> x;
  std::vector<float> bias;
  std::vector<float> y;
  LaneWindows windows;
  ColumnBlocks blocks;
};

}  // namespace onnxcomp::sparse_gemm
