// Cross-entropy of next tokens from the last hidden states, without ever holding all logits.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace parapet::nn {

constexpr int64_t kIgnoredLabel = -100;  // as in torch and `transformers`

// -log softmax(x weight^T)[label] per token, float32 [n]. x [n, width] of the compute type, weight
// [vocab, width], labels int64 [n] in 0..vocab-1. Logits exist for `chunk` tokens at a time: they
// are computed again in the backward pass. Products in x's type, the rest in float32. A gradient of
// a gradient is not available.
at::Tensor token_losses(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& labels,
                        int64_t chunk = 512);

// A loss as a sum and the number of tokens in it, so that micro-batches can be weighed.
struct TokenLoss {
  at::Tensor sum;           // float32 scalar
  int64_t tokens = 0;       // that were predicted
  at::Tensor mean() const;  // 0 where no token counts
};

// Sum over all places whose label is not kIgnoredLabel of the loss of predicting it from the hidden
// state *before* it: hidden [b, t, width], labels int64 [b, t], shifted here as `transformers`
// does. Ignored places cost nothing. DataError when a label is outside the vocabulary.
TokenLoss next_token_loss(const at::Tensor& hidden, const at::Tensor& weight,
                          const at::Tensor& labels, int64_t chunk = 512);

}  // namespace parapet::nn
