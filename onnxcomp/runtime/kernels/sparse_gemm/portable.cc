// Sparse matrix products for any CPU: four lanes (SSE2 on x86-64, NEON on Arm).
#include "kernels/sparse_gemm/list.h"
#include "kernels/sparse_gemm/rows.inc.h"

namespace onnxcomp::sparse_gemm {

const Kernel portable_kernel = {
    "portable",
    4,
    dot,
    {Panel<4, 1>::multiply, Panel<4, 2>::multiply, Panel<4, 3>::multiply, Panel<4, 4>::multiply},
    {},
};

}  // namespace onnxcomp::sparse_gemm
