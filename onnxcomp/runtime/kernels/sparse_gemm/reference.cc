#include "kernels/sparse_gemm/reference.h"

#include <cmath>

namespace onnxcomp::sparse_gemm {

Reference reference(const std::vector<float>& weight, int64_t outputs, int64_t columns, const Tensors& t) {
  Reference result;
  for (int64_t m = 0; m < t.rows; ++m) {
    for (int64_t n = 0; n < outputs; ++n) {
      double sum = t.bias[n];
      double magnitude = std::abs(sum);
      for (int64_t k = 0; k < columns; ++k) {
        if (weight[n * columns + k] == 0) continue;
        const double product = double{weight[n * columns + k]} * t.x[m * columns + k];
        sum += product;
        magnitude += std::abs(product);
      }
      result.y.push_back(sum);
      result.magnitude.push_back(magnitude);
    }
  }
  return result;
}

}  // namespace onnxcomp::sparse_gemm
