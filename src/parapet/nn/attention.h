// Softmax attention with grouped heads (arXiv 2305.13245), masks and a cache.
#pragma once
#include "parapet/nn/attention_mask.h"
#include "parapet/nn/kv_cache.h"

namespace parapet::nn {

// q [b, heads, tq, d], k and v [b, kv_heads, tk, d] -> [b, heads, tq, d]; `heads` is a multiple of
// `kv_heads`, and consecutive query heads share a key head. Scaled by 1 / sqrt(d). Models resolve
// their mask once and give it to every layer.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const ResolvedMask& mask);

// The same, resolving the mask. With a cache, k and v are appended to its `layer` first, and the
// queries see what was there before; mask and `tk` then count all of it.
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const AttentionMask& mask, KvCache* cache = nullptr, int64_t layer = 0);

// [b, t, heads * d] as a view [b, heads, t, d], and back.
at::Tensor split_heads(const at::Tensor& x, int64_t heads);
at::Tensor join_heads(const at::Tensor& x);

}  // namespace parapet::nn
