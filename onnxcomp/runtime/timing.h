// How the C++ benches time: the median of repeats, by this thread's own clock, so that other work on the machine counts
// only through the caches.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

namespace onnxcomp::timing {

inline double cpu_us() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return now.tv_sec * 1e6 + now.tv_nsec * 1e-3;
}

// Of `work`, repeated for 150 ms at least.
template <class Work>
double median_us(Work work) {
  std::vector<double> times;
  for (const double start = cpu_us(); times.size() < 5 || cpu_us() - start < 150e3;) {
    const double begin = cpu_us();
    work();
    times.push_back(cpu_us() - begin);
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  return times[times.size() / 2];
}

// Of all tasks of `run`, on this thread. Out of memory ends the program.
template <class Run>
double run_us(const Run& run) {
  return median_us([&] {
    for (int64_t task = 0; task < run.tasks(); ++task) {
      if (!run.run(task)) std::abort();
    }
  });
}

}  // namespace onnxcomp::timing
