#include "parapet/nn/contrastive.h"

#include <ATen/ATen.h>

namespace parapet::nn {
namespace {

at::Tensor symmetric(const at::Tensor& logits) {
  const at::Tensor labels = at::arange(logits.size(0), logits.options().dtype(at::kLong));
  return (at::cross_entropy_loss(logits, labels) + at::cross_entropy_loss(logits.t(), labels)) / 2;
}

}  // namespace

at::Tensor normalise_rows(const at::Tensor& x) {
  const at::Tensor wide = x.scalar_type() == at::kFloat ? x : x.to(at::kFloat);
  return wide / wide.norm(2, {-1}, true).clamp_min(1e-12);
}

at::Tensor info_nce(const at::Tensor& x, const at::Tensor& y, const at::Tensor& scale) {
  return symmetric(at::mm(x, y.t()) * scale);
}

at::Tensor info_nce(const at::Tensor& x, const at::Tensor& y, double scale) {
  return symmetric(at::mm(x, y.t()) * scale);
}

at::Tensor row_cosine(const at::Tensor& x, const at::Tensor& y) { return (x * y).sum(1); }

}  // namespace parapet::nn
