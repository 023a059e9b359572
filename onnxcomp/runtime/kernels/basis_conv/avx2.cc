// Convolution with shared bases for AVX2 with FMA: eight lanes.
#include <immintrin.h>

#include "kernels/basis_conv/combine.inc.h"
#include "kernels/basis_conv/list.h"

namespace onnxcomp::basis_conv {
namespace {

struct Avx2 {
  using Vector = __m256;
  static constexpr int kLanes = 8;
  static constexpr int kRegisters = 16;
  static constexpr int kMostBases = 3;

  static Vector load_masked(const float* from, uint16_t bits) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const __m256i wanted = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(bits), bit), bit);
    return _mm256_maskload_ps(from, wanted);
  }
};

}  // namespace

const Kernel avx2_kernel = {"avx2", Avx2::kLanes, combine<Avx2>};

}  // namespace onnxcomp::basis_conv
