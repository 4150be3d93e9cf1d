#include "parapet/nn/attention.h"

#include <ATen/ATen.h>

#include <string>

#include "parapet/core/error.h"

namespace parapet::nn {
namespace {

void check_heads(const at::Tensor& q, const at::Tensor& k) {
  if (k.size(1) == 0 || q.size(1) % k.size(1) != 0)
    throw Error(ErrorKind::kInternal, "attention: " + std::to_string(q.size(1)) +
                                          " query heads are no multiple of " +
                                          std::to_string(k.size(1)) + " key heads");
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const ResolvedMask& mask) {
  check_heads(q, k);
  const bool grouped = q.size(1) != k.size(1);
  return at::scaled_dot_product_attention(
      q, k, v, mask.additive.defined() ? std::optional(mask.additive) : std::nullopt, 0.0,
      mask.causal, std::nullopt, grouped);
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionMask& mask, KvCache* cache, int64_t layer) {
  if (cache != nullptr) {
    const auto [keys, values] = cache->append(layer, k, v);
    return attention(q, keys, values, mask);
  }
  return attention(q, k, v,
                   mask.resolve({q.size(0), q.size(1), q.size(2), k.size(2)}, q.options()));
}

at::Tensor split_heads(const at::Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);
}

at::Tensor join_heads(const at::Tensor& x) {
  return x.transpose(1, 2).reshape({x.size(0), x.size(2), x.size(1) * x.size(3)});
}

}  // namespace parapet::nn
