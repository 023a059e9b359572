// Where a 1x1 convolution's input comes from if X does not hold it: maps that are made a tile at a time.
#pragma once

#include <cstdint>

namespace onnxcomp::sparse_conv {

// Maps [first, first + count) of one group of one image, and in each `vectors` vectors of pixels from `pixel` on. Where
// the plane ends within the last of several, that one begins early, so that it ends with the plane.
struct MapPart {
  int64_t image;
  int64_t group;
  int64_t first;
  int64_t count;
  int64_t pixel;
  int64_t vectors;
};

class Source {
 public:
  virtual ~Source() = default;
  // What `make` needs for itself, aligned to a cache line.
  virtual int64_t scratch_floats() const = 0;
  // Fills `vectors` [count][vectors][L], aligned to 4L bytes. May run in several threads at once, each with a scratch.
  // Where there is one vector only, what follows a map's last pixel may be anything.
  virtual void make(const MapPart& part, float* scratch, float* vectors) const noexcept = 0;
};

}  // namespace onnxcomp::sparse_conv
