#include "parapet/nn/precision.h"

#include "parapet/core/cpu_features.h"
#include "parapet/core/error.h"

namespace parapet::nn {

bool cpu_has_fast_bf16() { return cpu_features().fast_bf16(); }

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
