// Convolution with shared bases for AVX-512 (F, VL, DQ, BW): sixteen lanes.
#include <immintrin.h>

#include "kernels/basis_conv/combine.inc.h"
#include "kernels/basis_conv/list.h"

namespace onnxcomp::basis_conv {
namespace {

struct Avx512 {
  using Vector = __m512;
  static constexpr int kLanes = 16;
  static constexpr int kRegisters = 32;
  static constexpr int kMostBases = 6;

  static Vector load_masked(const float* from, uint16_t bits) { return _mm512_maskz_loadu_ps(bits, from); }
};

}  // namespace

const Kernel avx512_kernel = {"avx512", Avx512::kLanes, combine<Avx512>};

}  // namespace onnxcomp::basis_conv
