// A convolution whose kernels are sums of d shared ones, packed: W[o, i] = sum over b of C[o, i, b] base[b].
//
// So it is a sparse 1x1 convolution of maps, whose weight is C: map i * d + b is input channel i convolved with base b.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/sparse_conv/contract.h"
#include "kernels/sparse_conv/shape.h"
#include "packing/bitmap.h"
#include "packing/blocked_csr.h"

namespace onnxcomp::basis_conv {

using sparse_conv::ConvShape;

// As it is stored. Pointers are to constants of the model.
struct StoredWeight {
  int64_t bases;
  const float* base;    // [bases][taps]
  Bitmap coefficients;  // [output channels][channels of a group][bases], checked
};

struct Weight {
  int64_t bases;
  std::vector<float> base;  // [taps][bases]
  BlockedCsr coefficients;  // a block holds all maps of each of its channels
};

// The 1x1 convolution of the maps: X's output pixels, `bases` maps for each of X's channels.
ConvShape shape_of_maps(const ConvShape& shape, int64_t bases);

// `expected` is the shape the weight is packed for, `kernel` the one of the 1x1 convolution. bases <= 65,536.
Weight pack_weight(const sparse_conv::Kernel& kernel, const ConvShape& expected, const StoredWeight& stored);

}  // namespace onnxcomp::basis_conv
