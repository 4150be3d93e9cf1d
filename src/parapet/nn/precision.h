// Which types a model is kept and computed in.
#pragma once
#include <c10/core/ScalarType.h>

#include <string>

#include "parapet/core/context.h"

namespace parapet::nn {

struct Precision {
  c10::ScalarType weights = c10::ScalarType::Float;
  c10::ScalarType compute = c10::ScalarType::Float;
  std::string note;  // why the compute type differs from what was asked; empty = it does not
};

// True where bfloat16 matrix products run in hardware (AMX or AVX512-BF16); elsewhere torch
// emulates them at a quarter of the float32 speed.
bool cpu_has_fast_bf16();

// `name` is fp32, bf16 or auto. bf16 on a processor without bfloat16 instructions keeps weights in
// bfloat16 and computes in float32: half the memory, closer to fp32 than bf16 arithmetic, faster.
// auto = bf16 where it is fast, else fp32. UsageError on another name.
Precision resolve_precision(const std::string& name, const std::string& device);
// The same, its note reported to `context`.
Precision resolve_precision(const std::string& name, const std::string& device,
                            const Context& context);

}  // namespace parapet::nn
