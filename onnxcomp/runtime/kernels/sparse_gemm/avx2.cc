// Sparse matrix products for AVX2 with FMA.
#include "kernels/sparse_gemm/list.h"
#include "kernels/sparse_gemm/rows.inc.h"

namespace onnxcomp::sparse_gemm {

const Kernel avx2_kernel = {"avx2", 8, dot, {Panel<8, 1>::multiply, Panel<8, 2>::multiply}, {}};

}  // namespace onnxcomp::sparse_gemm
