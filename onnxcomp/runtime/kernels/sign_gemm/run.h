// One execution of Y = activation(X * W^T + bias), W in blocks of one magnitude, cut into tasks that may run in any order
// and at the same time.
#pragma once

#include <cstdint>

#include "kernels/sign_gemm/contract.h"
#include "kernels/sparse_gemm/run.h"
#include "packing/sign_panels.h"

namespace onnxcomp::sign_gemm {

class Run {
 public:
  // Keeps references to `kernel` and `weight`, which is packed for the kernel's lanes.
  Run(const Kernel& kernel, const SignPanels& weight, const sparse_gemm::LastStage& last,
      const sparse_gemm::Tensors& tensors);

  int64_t tasks() const { return tasks_; }
  // Runs one task. False where its scratch could not be allocated; the output is then incomplete.
  bool run(int64_t task) const noexcept;

 private:
  void run_panel(int64_t panel, const float* table, int64_t row, float* sum, float* outputs) const noexcept;

  const Kernel& kernel_;
  const SignPanels& weight_;
  sparse_gemm::LastStage last_;
  sparse_gemm::Tensors tensors_;
  int64_t tasks_;
};

}  // namespace onnxcomp::sign_gemm
