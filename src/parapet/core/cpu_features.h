// What this machine's processor can do, asked once. Whoever has code for some instructions looks
// here, so that a test can take them away.
#pragma once
#include <string>

namespace parapet {

// All false on processors that are not x86.
struct CpuFeatures {
  bool avx2 = false, fma = false;
  bool avx512f = false, avx512bw = false, avx512dq = false, avx512vl = false;
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool amx_int8 = false, amx_bf16 = false;

  // The int8 kernels' needs.
  bool int8_products() const { return avx512f && avx512bw && avx512dq && avx512vl && avx512_vnni; }
  // Whether arithmetic in bfloat16 is faster than in float32.
  bool fast_bf16() const { return avx512_bf16 || amx_bf16; }
};

// Each level has what the ones before it have.
enum class CpuLevel { kBaseline, kAvx2, kAvx512, kVnni, kAll };

// Of this machine, without what cap_cpu_features took away. Thread-safe.
CpuFeatures cpu_features();
// Leaves the features of `level` and below that the machine has. For tests and comparisons: what
// was built or chosen before keeps what it has. OpenVINO and torch look for themselves.
void cap_cpu_features(CpuLevel level);

}  // namespace parapet
