#include "parapet/nn/rms_norm.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parapet/nn/as_type.h"

namespace parapet::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

class RmsNormFunction : public torch::autograd::Function<RmsNormFunction> {
 public:
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& weight,
                          double eps) {
    const at::Tensor wide = as_type(x, at::kFloat);
    const at::Tensor scale = at::mean(wide * wide, {-1}, true).add_(eps).rsqrt_();
    context->save_for_backward({x, weight, scale});
    context->saved_data["weight_needs_grad"] = weight.requires_grad();
    context->saved_data["x_needs_grad"] = x.requires_grad();
    return as_type(wide * scale, x.scalar_type()).mul_(weight);
  }

  // With n = x * scale: dx = scale * (g - n * mean(g * n)), where g = dy * weight.
  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &scale = saved[2];
    const at::Tensor normed = as_type(x, at::kFloat) * scale;
    at::Tensor dx, dweight;
    if (context->saved_data["weight_needs_grad"].toBool())
      dweight = as_type((as_type(grads[0], at::kFloat) * normed).view({-1, weight.size(0)}).sum(0),
                        weight.scalar_type());
    if (context->saved_data["x_needs_grad"].toBool()) {
      at::Tensor g = as_type(grads[0] * weight, at::kFloat);
      const at::Tensor along = at::mean(g * normed, {-1}, true);
      dx = as_type(at::addcmul(g, normed, along, -1).mul_(scale), x.scalar_type());
    }
    return {dx, dweight, Variable()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  return RmsNormFunction::apply(x, weight, eps);
}

RmsNorm::RmsNorm(int64_t size, double eps) : eps_(eps) { weight_.shape = {size}; }

at::Tensor RmsNorm::forward(const at::Tensor& x) const {
  return rms_norm(x, as_type(weight_.value, x.scalar_type()), eps_);
}

}  // namespace parapet::nn
