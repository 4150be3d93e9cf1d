#include "parapet/nn/linear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parapet/nn/as_type.h"
#include "parapet/nn/lora_off.h"

namespace parapet::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// W + scale B A in float32. One GEMM over the merged weight replaces three passes over the
// activations; it costs out*in*r, little beside tokens*out*in.
at::Tensor merged(const at::Tensor& weight, const at::Tensor& a, const at::Tensor& b,
                  double scale) {
  return at::addmm(as_type(weight, at::kFloat), b, a, 1.0, scale);
}

// Function::apply takes an absent bias only as an empty optional.
using MaybeBias = std::optional<Variable>;
MaybeBias maybe(const at::Tensor& bias) { return bias.defined() ? MaybeBias(bias) : MaybeBias(); }

// Frozen base, trainable adapter, float32 compute. Only x is kept for backward.
class LoraLinear : public torch::autograd::Function<LoraLinear> {
 public:
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& weight,
                          const MaybeBias& bias, const Variable& a, const Variable& b,
                          double scale) {
    context->save_for_backward({x, weight, a, b});
    context->saved_data["scale"] = scale;
    context->saved_data["x_needs_grad"] = x.requires_grad();
    return at::linear(x, merged(weight, a, b, scale), bias);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &a = saved[2], &b = saved[3];
    const double scale = context->saved_data["scale"].toDouble();
    const at::Tensor dy = grads[0].reshape({-1, weight.size(0)});
    const at::Tensor x2 = x.reshape({-1, weight.size(1)});
    at::Tensor dx;
    if (context->saved_data["x_needs_grad"].toBool())
      dx = at::mm(dy, merged(weight, a, b, scale)).view(x.sizes());
    const at::Tensor dyb = at::mm(dy, b);                                 // [n, r]
    const at::Tensor da = at::mm(dyb.t(), x2).mul_(scale);                // [r, in]
    const at::Tensor db = at::mm(dy.t(), at::mm(x2, a.t())).mul_(scale);  // [out, r]
    return {dx, Variable(), Variable(), da, db, Variable()};
  }
};

// Frozen weight held in another type than the compute type: converts for each pass instead of
// keeping a converted copy alive between forward and backward.
class FrozenLinear : public torch::autograd::Function<FrozenLinear> {
 public:
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& weight,
                          const MaybeBias& bias) {
    context->save_for_backward({weight});
    return at::linear(x, as_type(weight, x.scalar_type()), bias);
  }
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const at::Tensor weight = context->get_saved_variables()[0];
    return {at::matmul(grads[0], as_type(weight, grads[0].scalar_type())), Variable(), Variable()};
  }
};

}  // namespace

Linear::Linear(int64_t in, int64_t out, bool bias, int64_t kernel)
    : in_(in), out_(out), kernel_(kernel), has_bias_(bias) {
  weight_.shape = kernel > 0 ? std::vector<int64_t>{out, in / (kernel * kernel), kernel, kernel}
                             : std::vector<int64_t>{out, in};
  if (bias) bias_.shape = {out};
}

at::Tensor Linear::matrix() const {
  return kernel_ > 0 ? weight_.value.view({out_, in_}) : weight_.value;
}

at::Tensor Linear::forward(const at::Tensor& x) const {
  const at::Tensor weight = matrix();
  const at::Tensor bias = has_bias_ ? as_type(bias_.value, x.scalar_type()) : at::Tensor();
  const bool trains_base = weight.requires_grad() || (bias.defined() && bias.requires_grad());
  const bool adapted = lora != nullptr && !LoraOff::active();
  if (!adapted) {
    if (!trains_base && weight.scalar_type() != x.scalar_type())
      return FrozenLinear::apply(x, weight, maybe(bias));
    return at::linear(x, as_type(weight, x.scalar_type()), bias);
  }
  const bool drops = training && lora->dropout > 0;
  if (!drops && !trains_base && x.scalar_type() == at::kFloat)
    return LoraLinear::apply(x, weight, maybe(bias), lora->a, lora->b, lora->scale);
  // The general form: bfloat16 (where W + BA would round the small update away), dropout, or a
  // trainable base.
  const at::Tensor base = trains_base || weight.scalar_type() == x.scalar_type()
                              ? at::linear(x, as_type(weight, x.scalar_type()), bias)
                              : FrozenLinear::apply(x, weight, maybe(bias));
  const at::Tensor input = as_type(drops ? at::dropout(x, lora->dropout, true) : x, at::kFloat);
  const at::Tensor update = at::linear(at::linear(input, lora->a), lora->b);
  return base + as_type(update.mul(lora->scale), x.scalar_type());
}

}  // namespace parapet::nn
