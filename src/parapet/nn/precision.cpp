#include "parapet/nn/precision.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "parapet/core/error.h"

namespace parapet::nn {

bool cpu_has_fast_bf16() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  const bool amx_bf16 = (d >> 22 & 1u) != 0;
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0) return amx_bf16;
  const bool avx512_bf16 = (a >> 5 & 1u) != 0;
  return amx_bf16 || avx512_bf16;
#else
  return false;
#endif
}

Precision resolve_precision(const std::string& name, const std::string& device) {
  using c10::ScalarType;
  const bool fast = device.rfind("cuda", 0) == 0 || cpu_has_fast_bf16();
  if (name == "fp32" || (name == "auto" && !fast)) return {};
  if (name == "auto") return {ScalarType::BFloat16, ScalarType::BFloat16, ""};
  if (name != "bf16")
    throw UsageError("--precision: '" + name + "' is not one of fp32, bf16, auto");
  if (fast) return {ScalarType::BFloat16, ScalarType::BFloat16, ""};
  return {ScalarType::BFloat16, ScalarType::Float,
          "bf16: this processor has no bfloat16 instructions; weights stay in bfloat16, "
          "arithmetic is float32"};
}

Precision resolve_precision(const std::string& name, const std::string& device,
                            const Context& context) {
  Precision precision = resolve_precision(name, device);
  if (!precision.note.empty()) context.info(precision.note);
  return precision;
}

}  // namespace parapet::nn
