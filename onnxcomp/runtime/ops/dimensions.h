// Dimensions as the runtime knows them while it loads a model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "abi.h"

namespace onnxcomp {

// A dimension: its size, or -1 and a name, or -1 and no name where nothing is known.
struct Dimension {
  int64_t size;
  std::string name;

  static Dimension unknown() { return {-1, ""}; }

  bool known() const { return size >= 0 || !name.empty(); }
};

// Of input `index`; empty where its rank is not known.
std::vector<Dimension> input_dimensions(const OrtApi& api, OrtShapeInferContext* context, size_t index);

// Says that the output is float32 of dimensions `y`. One of which nothing is known gets a name that no other has, as the
// ABI has no way to say "some size".
void set_output_dimensions(const OrtApi& api, OrtShapeInferContext* context, const std::vector<Dimension>& y);

}  // namespace onnxcomp
