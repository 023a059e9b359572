// The machine: instruction set, caches, processors. Nobody else asks.
#pragma once

#include <cstdint>

namespace onnxcomp {

// In rising order: a machine that has one has those before it.
enum class Isa { portable, avx2, avx512 };

// What this CPU and operating system can execute.
Isa detected_isa();

// What kernels are to use: `detected_isa()`, or less where the environment variable ONNXCOMP_ISA (avx512, avx2,
// portable) asks for less. Read once. Throws Error on any other value.
Isa chosen_isa();

struct Machine {
  int64_t l1_bytes;    // of one core's data cache
  int64_t l2_bytes;    // of one core's share
  int64_t l3_bytes;    // that some cores share
  int64_t processors;  // this process may run on
};

// Measured once; plausible values where the system does not tell.
const Machine& machine();

}  // namespace onnxcomp
