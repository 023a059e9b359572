#include "cpu.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include "error.h"

namespace onnxcomp {
namespace {

Isa requested_isa() {
  const char* request = std::getenv("ONNXCOMP_ISA");
  if (request == nullptr || *request == '\0') return Isa::avx512;
  const std::string_view name = request;
  if (name == "avx512") return Isa::avx512;
  if (name == "avx2") return Isa::avx2;
  if (name == "portable") return Isa::portable;
  fail("environment variable ONNXCOMP_ISA is '", request, "': use avx512, avx2 or portable, or unset it");
}

int64_t cache_bytes(int name, int64_t otherwise) {
  const long bytes = sysconf(name);
  return bytes > 0 ? bytes : otherwise;
}

// What the C library says of an L3 is, on some machines, the sum of all there are.
int64_t l3_bytes() {
  std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index3/size");  // "32768K"
  int64_t kib = 0;
  return file >> kib && kib > 0 ? kib << 10 : 8 << 20;
}

int64_t usable_processors() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return std::max(1L, sysconf(_SC_NPROCESSORS_ONLN));  // over 1024
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace

Isa detected_isa() {
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Isa::portable;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw");
  return avx512 ? Isa::avx512 : Isa::avx2;
#else
  return Isa::portable;
#endif
}

Isa chosen_isa() {
  static const Isa isa = std::min(detected_isa(), requested_isa());
  return isa;
}

const Machine& machine() {
  static const Machine measured = {
      cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 32 << 10),
      cache_bytes(_SC_LEVEL2_CACHE_SIZE, 512 << 10),
      l3_bytes(),
      usable_processors(),
  };
  return measured;
}

}  // namespace onnxcomp
