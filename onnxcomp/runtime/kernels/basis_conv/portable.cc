// Convolution with shared bases for any CPU: four lanes in GCC's portable vectors (SSE2 on x86-64, NEON on Arm).
#include "kernels/basis_conv/combine.inc.h"
#include "kernels/basis_conv/list.h"

namespace onnxcomp::basis_conv {
namespace {

struct Portable {
  using Vector __attribute__((vector_size(16))) = float;
  static constexpr int kLanes = 4;
  static constexpr int kRegisters = 16;
  static constexpr int kMostBases = 3;

  static Vector load_masked(const float* from, uint16_t bits) {
    Vector v = {};
    if (bits == 0xf) {
      __builtin_memcpy(&v, from, sizeof v);
      return v;
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      if (bits >> lane & 1) v[lane] = from[lane];
    }
    return v;
  }
};

}  // namespace

const Kernel portable_kernel = {"portable", Portable::kLanes, combine<Portable>};

}  // namespace onnxcomp::basis_conv
