#include "parapet/nn/contrastive.h"

#include <ATen/ATen.h>

#include <limits>

namespace parapet::nn {
namespace {

at::Tensor symmetric(at::Tensor logits, const at::Tensor& duplicates) {
  if (duplicates.defined())
    logits = logits.masked_fill(duplicates, -std::numeric_limits<double>::infinity());
  const at::Tensor labels = at::arange(logits.size(0), logits.options().dtype(at::kLong));
  return (at::cross_entropy_loss(logits, labels) + at::cross_entropy_loss(logits.t(), labels)) / 2;
}

}  // namespace

at::Tensor normalise_rows(const at::Tensor& x) {
  const at::Tensor wide = x.scalar_type() == at::kFloat ? x : x.to(at::kFloat);
  return wide / wide.norm(2, {-1}, true).clamp_min(1e-12);
}

at::Tensor info_nce(const at::Tensor& x, const at::Tensor& y, const at::Tensor& scale,
                    const at::Tensor& duplicates) {
  return symmetric(at::mm(x, y.t()) * scale, duplicates);
}

at::Tensor info_nce(const at::Tensor& x, const at::Tensor& y, double scale,
                    const at::Tensor& duplicates) {
  return symmetric(at::mm(x, y.t()) * scale, duplicates);
}

at::Tensor duplicate_rows(const at::Tensor& x_keys, const at::Tensor& y_keys) {
  if (!x_keys.defined() || !y_keys.defined()) return {};
  const auto equal = [](const at::Tensor& keys) { return keys.unsqueeze(1).eq(keys.unsqueeze(0)); };
  return equal(x_keys).logical_or_(equal(y_keys)).fill_diagonal_(0);
}

double recall_at_1(const at::Tensor& queries, const at::Tensor& gallery) {
  constexpr int64_t kBlock = 512;
  int64_t hits = 0;
  for (int64_t begin = 0; begin < queries.size(0); begin += kBlock) {
    const at::Tensor best = at::mm(queries.slice(0, begin, begin + kBlock), gallery.t()).argmax(1);
    hits += best.eq(at::arange(begin, begin + best.size(0), best.options())).sum().item<int64_t>();
  }
  return static_cast<double>(hits) / static_cast<double>(queries.size(0));
}

at::Tensor row_cosine(const at::Tensor& x, const at::Tensor& y) { return (x * y).sum(1); }

}  // namespace parapet::nn
