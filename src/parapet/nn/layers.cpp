#include "parapet/nn/layers.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "parapet/core/error.h"
#include "parapet/nn/as_type.h"
#include "parapet/nn/quick_gelu_kernel.h"

namespace parapet::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// The fused kernels apply to contiguous float32 and bfloat16 on the CPU.
bool fusable(const at::Tensor& x) {
  return x.is_cpu() && x.is_contiguous() &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

constexpr int64_t kGrain = 16384;  // elements per task: about the cost of waking a thread

// The bits of a bfloat16 tensor.
const uint16_t* bits_of(const at::Tensor& x) {
  return static_cast<const uint16_t*>(x.const_data_ptr());
}

void fused_forward(const at::Tensor& x, at::Tensor& y, int64_t begin, int64_t end) {
  if (x.scalar_type() == at::kFloat)
    quick_gelu_forward(x.const_data_ptr<float>() + begin, y.data_ptr<float>() + begin, end - begin);
  else
    quick_gelu_forward_bf16(bits_of(x) + begin, static_cast<uint16_t*>(y.data_ptr()) + begin,
                            end - begin);
}

void fused_backward(const at::Tensor& x, const at::Tensor& dy, at::Tensor& dx, int64_t begin,
                    int64_t end) {
  if (x.scalar_type() == at::kFloat)
    quick_gelu_backward(x.const_data_ptr<float>() + begin, dy.const_data_ptr<float>() + begin,
                        dx.data_ptr<float>() + begin, end - begin);
  else
    quick_gelu_backward_bf16(bits_of(x) + begin, bits_of(dy) + begin,
                             static_cast<uint16_t*>(dx.data_ptr()) + begin, end - begin);
}

// x * sigmoid(1.702 x), keeping x alone for backward.
class QuickGelu : public torch::autograd::Function<QuickGelu> {
 public:
  static Variable forward(AutogradContext* context, const Variable& x) {
    context->save_for_backward({x});
    if (!fusable(x)) return at::mul(x, kQuickGeluSlope).sigmoid_().mul_(x);
    at::Tensor y = at::empty_like(x);
    at::parallel_for(0, x.numel(), kGrain,
                     [&](int64_t begin, int64_t end) { fused_forward(x, y, begin, end); });
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const at::Tensor x = context->get_saved_variables()[0];
    const at::Tensor dy = grads[0];
    if (!fusable(x) || !fusable(dy) || dy.scalar_type() != x.scalar_type()) {
      const at::Tensor s = at::mul(x, kQuickGeluSlope).sigmoid_();
      return {at::rsub(s, 1.0).mul_(x).mul_(kQuickGeluSlope).add_(1.0).mul_(s).mul_(dy)};
    }
    at::Tensor dx = at::empty_like(x);
    at::parallel_for(0, x.numel(), kGrain,
                     [&](int64_t begin, int64_t end) { fused_backward(x, dy, dx, begin, end); });
    return {dx};
  }
};

}  // namespace

LayerNorm::LayerNorm(int64_t size, double eps) : eps_(eps) {
  weight_.shape = {size};
  bias_.shape = {size};
}

at::Tensor LayerNorm::forward(const at::Tensor& x) const {
  return at::layer_norm(x, weight_.shape, as_type(weight_.value, x.scalar_type()),
                        as_type(bias_.value, x.scalar_type()), eps_);
}

Embedding::Embedding(int64_t rows, int64_t width) { weight_.shape = {rows, width}; }

at::Tensor Embedding::forward(const at::Tensor& ids, at::ScalarType dtype) const {
  return as_type(at::embedding(weight_.value, ids), dtype);
}

at::Tensor Embedding::rows(int64_t count, at::ScalarType dtype) const {
  return as_type(weight_.value.slice(0, 0, count), dtype);
}

void check_ids(const at::Tensor& ids, int64_t rows, const std::string& what) {
  if (!ids.device().is_cpu() || ids.numel() == 0) return;
  const auto [low, high] = at::aminmax(ids);
  const int64_t bad = low.item<int64_t>() < 0 ? low.item<int64_t>() : high.item<int64_t>();
  if (bad < 0 || bad >= rows)
    throw DataError(what,
                    "token id " + std::to_string(bad) + " is outside the model's " +
                        std::to_string(rows) + " embeddings",
                    "Check that tokenizer and model belong together.");
}

Activation activation_from_name(const std::string& name, const std::string& source) {
  if (name == "quick_gelu") return Activation::kQuickGelu;
  if (name == "gelu") return Activation::kGelu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new" || name == "gelu_fast")
    return Activation::kGeluTanh;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "relu") return Activation::kRelu;
  throw DataError(source, "field 'hidden_act' is '" + name + "', which is not known",
                  "Known: quick_gelu, gelu, gelu_pytorch_tanh, silu, relu.");
}

std::string activation_name(Activation activation) {
  switch (activation) {
    case Activation::kQuickGelu:
      return "quick_gelu";
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_pytorch_tanh";
    case Activation::kSilu:
      return "silu";
    case Activation::kRelu:
      return "relu";
  }
  return "";
}

at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::kQuickGelu:
      return QuickGelu::apply(x);
    case Activation::kGelu:
      return at::gelu(x);
    case Activation::kGeluTanh:
      return at::gelu(x, "tanh");
    case Activation::kSilu:
      return at::silu(x);
    case Activation::kRelu:
      return at::relu(x);
  }
  throw Error(ErrorKind::kInternal, "activate: unknown activation");
}

}  // namespace parapet::nn
