#include "parapet/nn/rotary.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "parapet/core/error.h"
#include "parapet/nn/as_type.h"

namespace parapet::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

constexpr double kTwoPi = 2 * std::numbers::pi;

void require(bool holds, const std::string& problem) {
  if (!holds) throw UsageError("rotary embedding: " + problem);
}

void check(const RotaryOptions& o) {
  require(o.head_dim >= 2 && o.head_dim % 2 == 0,
          "the head size is " + std::to_string(o.head_dim) + ", must be even");
  require(std::isfinite(o.theta) && o.theta > 1, "theta must be greater than 1");
  if (!o.sections.empty()) {
    require(std::ranges::all_of(o.sections, [](int64_t size) { return size > 0; }) &&
                std::accumulate(o.sections.begin(), o.sections.end(), int64_t{0}) == o.head_dim / 2,
            "the sections must add up to half the head size, " + std::to_string(o.head_dim / 2));
  }
  if (o.scaling == RotaryScaling::kNone) return;
  require(std::isfinite(o.factor) && o.factor >= 1, "factor must be 1 or more");
  if (o.scaling == RotaryScaling::kLinear) return;
  require(o.original_max_positions > 0, "original_max_position_embeddings must be greater than 0");
  if (o.scaling == RotaryScaling::kLlama3)
    require(o.low_freq_factor > 0 && o.high_freq_factor > o.low_freq_factor,
            "high_freq_factor must be greater than low_freq_factor");
  if (o.scaling == RotaryScaling::kYarn)
    require(o.beta_slow > 0 && o.beta_fast >= o.beta_slow && o.attention_factor >= 0,
            "beta_fast must be at least beta_slow");
}

// Llama 3.1: long waves are stretched by `factor`, short ones stay, those between are blended by
// how often they turn in the original context.
at::Tensor llama3(const at::Tensor& inverse, const RotaryOptions& o) {
  const auto context = static_cast<double>(o.original_max_positions);
  const at::Tensor wave = kTwoPi / inverse;
  const at::Tensor smooth =
      (context / wave - o.low_freq_factor) / (o.high_freq_factor - o.low_freq_factor);
  const at::Tensor blended = (1 - smooth) * inverse / o.factor + smooth * inverse;
  const at::Tensor stretched =
      at::where(wave > context / o.low_freq_factor, inverse / o.factor, inverse);
  const at::Tensor between =
      at::logical_and(wave >= context / o.high_freq_factor, wave <= context / o.low_freq_factor);
  return at::where(between, blended, stretched);
}

// YaRN: a linear ramp between the frequencies that turn `beta_fast` times in the original context
// (kept) and those that turn `beta_slow` times (stretched).
at::Tensor yarn(const at::Tensor& inverse, const RotaryOptions& o) {
  const auto dim = static_cast<double>(o.head_dim);
  auto index_of = [&](double turns) {
    return dim * std::log(static_cast<double>(o.original_max_positions) / (turns * kTwoPi)) /
           (2 * std::log(o.theta));
  };
  double low = index_of(o.beta_fast), high = index_of(o.beta_slow);
  if (o.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, dim - 1);
  if (low == high) high += 0.001;
  const at::Tensor ramp =
      ((at::arange(o.head_dim / 2, at::kFloat) - low) / (high - low)).clamp_(0, 1);
  return inverse / o.factor * ramp + inverse * (1 - ramp);
}

// (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin); `sign` -1 turns back.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, double sign) {
  const int64_t half = x.size(-1) / 2;
  const at::Tensor x1 = x.narrow(-1, 0, half), x2 = x.narrow(-1, half, half);
  at::Tensor y = at::empty_like(x);
  at::Tensor y1 = y.narrow(-1, 0, half), y2 = y.narrow(-1, half, half);
  at::mul_out(y1, x1, cos);
  at::mul_out(y2, x2, cos);
  y1.addcmul_(x2, sin, -sign);
  y2.addcmul_(x1, sin, sign);
  return y;
}

class RotaryFunction : public torch::autograd::Function<RotaryFunction> {
 public:
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& cos,
                          const Variable& sin) {
    context->save_for_backward({cos, sin});
    return rotate(x, cos, sin, 1);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    return {rotate(grads[0], saved[0], saved[1], -1), Variable(), Variable()};
  }
};

}  // namespace

Rotary::Rotary(const RotaryOptions& options) : sections_(options.sections) {
  check(options);
  const at::Tensor exponents =
      at::arange(0, options.head_dim, 2, at::kFloat) / static_cast<double>(options.head_dim);
  const at::Tensor inverse = 1.0 / at::pow(options.theta, exponents);
  switch (options.scaling) {
    case RotaryScaling::kNone:
      inverse_ = inverse;
      return;
    case RotaryScaling::kLinear:
      inverse_ = inverse / options.factor;
      return;
    case RotaryScaling::kLlama3:
      inverse_ = llama3(inverse, options);
      return;
    case RotaryScaling::kYarn:
      inverse_ = yarn(inverse, options);
      attention_factor_ = options.attention_factor > 0 ? options.attention_factor
                                                       : 0.1 * std::log(options.factor) + 1;
      return;
  }
}

RotaryTable Rotary::table(const at::Tensor& positions, at::ScalarType type) const {
  const at::NoGradGuard no_grad;
  const bool axes = positions.dim() == 3;
  if (!(positions.dim() == 2 || (axes && positions.size(0) == 3 && !sections_.empty())))
    throw Error(ErrorKind::kInternal,
                "Rotary: positions must be [b, t], or [3, b, t] where the model has sections");
  at::Tensor angles =
      at::mul(positions.unsqueeze(-1).to(at::kFloat), inverse_.to(positions.device()));
  if (axes) {
    std::vector<at::Tensor> runs;
    int64_t begin = 0;
    for (size_t i = 0; i < sections_.size(); begin += sections_[i++])
      runs.push_back(angles.select(0, static_cast<int64_t>(i % 3)).narrow(-1, begin, sections_[i]));
    angles = at::cat(runs, -1);
  }
  angles = angles.unsqueeze(1);
  at::Tensor cos = angles.cos(), sin = angles.sin();
  if (attention_factor_ != 1) {
    cos.mul_(attention_factor_);
    sin.mul_(attention_factor_);
  }
  return {as_type(cos, type), as_type(sin, type)};
}

at::Tensor apply_rotary(const at::Tensor& x, const RotaryTable& table) {
  return RotaryFunction::apply(x, table.cos, table.sin);
}

}  // namespace parapet::nn
