#include "parapet/nn/token_loss.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "parapet/core/error.h"
#include "parapet/nn/as_type.h"
#include "parapet/nn/layers.h"

namespace parapet::nn {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// Calls `use(begin, count)` for stretches of at most `chunk` of `total`.
template <class Use>
void by_chunks(int64_t total, int64_t chunk, const Use& use) {
  for (int64_t begin = 0; begin < total; begin += chunk) use(begin, std::min(chunk, total - begin));
}

at::Tensor logits_of(const at::Tensor& x, const at::Tensor& weight) {
  return as_type(at::mm(x, weight.t()), at::kFloat);
}

class TokenLosses : public torch::autograd::Function<TokenLosses> {
 public:
  static Variable forward(AutogradContext* context, const Variable& x, const Variable& weight,
                          const Variable& labels, int64_t chunk) {
    const at::Tensor w = as_type(weight, x.scalar_type());
    const at::Tensor normaliser = at::empty({x.size(0)}, x.options().dtype(at::kFloat));
    const at::Tensor losses = at::empty_like(normaliser);
    by_chunks(x.size(0), chunk, [&](int64_t begin, int64_t count) {
      const at::Tensor logits = logits_of(x.narrow(0, begin, count), w);
      const at::Tensor label = labels.narrow(0, begin, count).unsqueeze(1);
      const at::Tensor sum = at::logsumexp(logits, {1});
      normaliser.narrow(0, begin, count).copy_(sum);
      losses.narrow(0, begin, count).copy_(sum - logits.gather(1, label).squeeze(1));
    });
    context->save_for_backward({x, weight, labels, normaliser});
    context->saved_data["chunk"] = chunk;
    context->saved_data["x_needs_grad"] = x.requires_grad();
    context->saved_data["weight_needs_grad"] = weight.requires_grad();
    return losses;
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const auto saved = context->get_saved_variables();
    const auto &x = saved[0], &weight = saved[1], &labels = saved[2], &normaliser = saved[3];
    const at::Tensor w = as_type(weight, x.scalar_type());
    at::Tensor dx, dweight;
    if (context->saved_data["x_needs_grad"].toBool()) dx = at::empty_like(x);
    if (context->saved_data["weight_needs_grad"].toBool())
      dweight = at::zeros(weight.sizes(), weight.options().dtype(at::kFloat));
    by_chunks(x.size(0), context->saved_data["chunk"].toInt(), [&](int64_t begin, int64_t count) {
      const at::Tensor rows = x.narrow(0, begin, count);
      const at::Tensor scale = grads[0].narrow(0, begin, count).unsqueeze(1);
      // softmax(logits) - one_hot(label), weighted by what each token's loss counts for.
      at::Tensor d =
          logits_of(rows, w).sub_(normaliser.narrow(0, begin, count).unsqueeze(1)).exp_();
      d.mul_(scale).scatter_add_(1, labels.narrow(0, begin, count).unsqueeze(1), scale.neg());
      d = as_type(d, x.scalar_type());
      if (dx.defined()) dx.narrow(0, begin, count).copy_(at::mm(d, w));
      if (!dweight.defined()) return;
      if (d.scalar_type() == at::kFloat)
        dweight.addmm_(d.t(), rows);
      else
        dweight.add_(at::mm(d.t(), rows));
    });
    if (dweight.defined()) dweight = as_type(dweight, weight.scalar_type());
    return {dx, dweight, Variable(), Variable()};
  }
};

}  // namespace

at::Tensor token_losses(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& labels,
                        int64_t chunk) {
  check_ids(labels, weight.size(0), "labels");
  return TokenLosses::apply(x, weight, labels.to(x.device()), chunk);
}

at::Tensor TokenLoss::mean() const {
  return sum / static_cast<double>(std::max<int64_t>(tokens, 1));
}

TokenLoss next_token_loss(const at::Tensor& hidden, const at::Tensor& weight,
                          const at::Tensor& labels, int64_t chunk) {
  if (hidden.dim() != 3 || labels.dim() != 2 || hidden.size(0) != labels.size(0) ||
      hidden.size(1) != labels.size(1))
    throw Error(ErrorKind::kInternal, "next_token_loss: hidden states and labels do not fit");
  const at::Tensor next = labels.slice(1, 1).reshape({-1});
  const at::Tensor kept = at::ne(next, kIgnoredLabel).nonzero().squeeze(1);
  const at::Tensor rows = hidden.slice(1, 0, -1).reshape({-1, hidden.size(2)});
  const at::Tensor chosen = rows.index_select(0, kept.to(rows.device()));
  return {token_losses(chosen, weight, next.index_select(0, kept), chunk).sum(), kept.size(0)};
}

}  // namespace parapet::nn
