// Which keys each query of an attention may see, and by how much a score is shifted.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace parapet::nn {

// The sizes an attention works on: q [batch, heads, queries, d], k and v [batch, *, keys, d].
struct AttentionShape {
  int64_t batch = 0, heads = 0, queries = 0, keys = 0;
};

// A mask in the form that the kernel takes.
struct ResolvedMask {
  at::Tensor additive;  // added to the scores, broadcastable to [batch, heads, queries, keys];
                        // undefined: there is none, and the kernel works without a mask tensor
  bool causal = false;  // the kernel's own causal rule, for as many queries as keys
};

// Conditions that may be combined freely: a key is seen if every one of them allows it. The default
// hides nothing.
struct AttentionMask {
  // A query sees the keys up to its own place. `offset` is the first query's place among the keys;
  // left out, the queries are the last keys, as they are with a key-value cache.
  bool causal = false;
  std::optional<int64_t> offset = std::nullopt;
  at::Tensor lengths = {};  // int64 [batch]: keys at or beyond it are hidden (padding on the right)
  at::Tensor starts = {};   // int64 [batch]: keys before it are hidden (padding on the left)
  // int64 [batch or 1, keys]: a query sees only the keys of its own segment (packed sequences). A
  // query's segment is that of the key at its place, see `offset`.
  at::Tensor segments = {};
  at::Tensor additive = {};  // floating, four dimensions, each of the right size or 1

  // True where attention needs no mask tensor, which is what the fused kernels like best.
  bool needs_no_tensor(const AttentionShape& shape) const;
  // The mask as a tensor of `options`' type and device. UsageError on a part that does not fit the
  // shape; values of lengths and starts are checked where they lie in CPU memory. With `causal`, a
  // query in the left padding sees itself, so that no row of the scores is wholly hidden: kernels
  // disagree about such rows.
  ResolvedMask resolve(const AttentionShape& shape, const at::TensorOptions& options) const;

 private:
  int64_t first_place(const AttentionShape& shape) const;
  bool sees_all_before(const AttentionShape& shape) const;
  at::Tensor visible(const AttentionShape& shape, at::Device device) const;
  void check(const AttentionShape& shape) const;
};

// Segment numbers 0, 1, ... of sequences packed one after the other: `cumulative` int64 [n + 1]
// from 0 to the number of tokens, as variable-length kernels take it. Returns int64 [1, tokens].
at::Tensor segments_from_cumulative(const at::Tensor& cumulative);

// Each token's place in its own sequence, int64 [batch or 1, tokens]: counted from the start of its
// segment, or from `starts` (tokens in the padding get 0).
at::Tensor positions_in_segments(const at::Tensor& segments);
at::Tensor positions_from_starts(const at::Tensor& starts, int64_t first, int64_t count);

}  // namespace parapet::nn
