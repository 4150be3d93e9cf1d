#include "parapet/nn/gated_mlp.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parapet/core/error.h"

namespace parapet::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

at::Tensor activation_backward(const at::Tensor& grad, const at::Tensor& x, Activation activation) {
  if (activation == Activation::kSilu) return at::silu_backward(grad, x);
  return at::gelu_backward(grad, x, activation == Activation::kGeluTanh ? "tanh" : "none");
}

class GatedProduct : public torch::autograd::Function<GatedProduct> {
 public:
  static Variable forward(AutogradContext* context, const Variable& gate, const Variable& up,
                          int64_t activation) {
    context->save_for_backward({gate, up});
    context->saved_data["activation"] = activation;
    return activate(gate, static_cast<Activation>(activation)).mul_(up);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const auto activation = static_cast<Activation>(context->saved_data["activation"].toInt());
    const at::Tensor dup = activate(saved[0], activation).mul_(grads[0]);
    const at::Tensor dgate = activation_backward(grads[0] * saved[1], saved[0], activation);
    return {dgate, dup, Variable()};
  }
};

}  // namespace

at::Tensor gated_product(const at::Tensor& gate, const at::Tensor& up, Activation activation) {
  if (activation != Activation::kSilu && activation != Activation::kGelu &&
      activation != Activation::kGeluTanh)
    throw UsageError("a gated MLP takes silu, gelu or gelu_pytorch_tanh, not " +
                     activation_name(activation));
  return GatedProduct::apply(gate, up, static_cast<int64_t>(activation));
}

GatedMlp::GatedMlp(int64_t width, int64_t intermediate, bool bias, Activation activation)
    : activation_(activation),
      gate_proj_(width, intermediate, bias),
      up_proj_(width, intermediate, bias),
      down_proj_(intermediate, width, bias) {}

at::Tensor GatedMlp::forward(const at::Tensor& x) const {
  return down_proj_.forward(gated_product(gate_proj_.forward(x), up_proj_.forward(x), activation_));
}

}  // namespace parapet::nn
