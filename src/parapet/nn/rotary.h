// Rotary position embeddings (arXiv 2104.09864) in the rotate-half form of Llama and Qwen: element
// i turns with element i + d / 2.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace parapet::nn {

// How frequencies are stretched for contexts beyond the trained one.
enum class RotaryScaling { kNone, kLinear, kLlama3, kYarn };

struct RotaryOptions {
  int64_t head_dim = 64;
  double theta = 10000;
  RotaryScaling scaling = RotaryScaling::kNone;
  double factor = 1;                     // kLinear, kLlama3, kYarn
  double low_freq_factor = 1;            // kLlama3
  double high_freq_factor = 4;           // kLlama3
  int64_t original_max_positions = 0;    // kLlama3, kYarn: the context before the stretch
  double beta_fast = 32, beta_slow = 1;  // kYarn (arXiv 2309.00071)
  double attention_factor = 0;  // kYarn: multiplies sine and cosine; 0 = 0.1 ln(factor) + 1
  bool truncate = true;         // kYarn: whole numbers bound the range that is blended
  // Multi-axis positions (M-RoPE of Qwen2-VL): sizes of runs of frequencies, d / 2 together; run i
  // turns by the positions of axis i modulo 3. Empty: one axis.
  std::vector<int64_t> sections;
};

// Cosine and sine of each position's angles, [b, 1, t, d / 2], in the compute type.
struct RotaryTable {
  at::Tensor cos, sin;
};

class Rotary {
 public:
  Rotary() = default;
  // UsageError on an odd size, sections that do not add up, or factors out of range.
  explicit Rotary(const RotaryOptions& options);
  // positions int64 [b, t], or [3, b, t] with sections (a plain [b, t] then stands for all three
  // axes). Angles are computed in float32.
  RotaryTable table(const at::Tensor& positions, at::ScalarType type) const;
  // float32 [d / 2] in CPU memory.
  const at::Tensor& inverse_frequencies() const { return inverse_; }
  double attention_factor() const { return attention_factor_; }

 private:
  std::vector<int64_t> sections_;
  at::Tensor inverse_;
  double attention_factor_ = 1;
};

// Turns x [b, heads, t, d] by the table's angles. Keeps nothing of x for the backward pass.
at::Tensor apply_rotary(const at::Tensor& x, const RotaryTable& table);

}  // namespace parapet::nn
