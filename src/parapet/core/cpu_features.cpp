#include "parapet/core/cpu_features.h"

#include <atomic>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace parapet {
namespace {

std::atomic<CpuLevel> cap{CpuLevel::kAll};

CpuFeatures detect() {
  CpuFeatures found;
#if defined(__x86_64__)
  // These also ask whether the operating system keeps the registers.
  found.avx2 = __builtin_cpu_supports("avx2");
  found.fma = __builtin_cpu_supports("fma");
  found.avx512f = __builtin_cpu_supports("avx512f");
  found.avx512bw = __builtin_cpu_supports("avx512bw");
  found.avx512dq = __builtin_cpu_supports("avx512dq");
  found.avx512vl = __builtin_cpu_supports("avx512vl");
  found.avx512_vnni = __builtin_cpu_supports("avx512vnni");
  // What compilers do not know yet: leaf 7.
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) {
    found.amx_bf16 = (d >> 22 & 1U) != 0;
    found.amx_int8 = (d >> 25 & 1U) != 0;
  }
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) != 0) found.avx512_bf16 = (a >> 5 & 1U) != 0;
#endif
  return found;
}

}  // namespace

CpuFeatures cpu_features() {
  static const CpuFeatures machine = detect();
  CpuFeatures found = machine;
  const CpuLevel level = cap.load(std::memory_order_relaxed);
  if (level < CpuLevel::kAll) found.avx512_bf16 = found.amx_int8 = found.amx_bf16 = false;
  if (level < CpuLevel::kVnni) found.avx512_vnni = false;
  if (level < CpuLevel::kAvx512)
    found.avx512f = found.avx512bw = found.avx512dq = found.avx512vl = false;
  if (level < CpuLevel::kAvx2) found.avx2 = found.fma = false;
  return found;
}

void cap_cpu_features(CpuLevel level) { cap.store(level, std::memory_order_relaxed); }

}  // namespace parapet
