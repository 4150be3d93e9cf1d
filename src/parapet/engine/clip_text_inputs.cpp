#include "parapet/engine/clip_text_inputs.h"

#include <ATen/ATen.h>

#include "parapet/core/error.h"

namespace parapet {
namespace {

// Below every attention score, finite in bfloat16.
constexpr float kMasked = -30000;

}  // namespace

std::vector<at::Tensor> clip_text_inputs(const ClipTextConfig& config, const at::Tensor& tokens,
                                         const at::Tensor& positions, const at::Tensor& ids) {
  const auto [low, high] = at::aminmax(ids);
  const int64_t bad = low.item<int64_t>() < 0 ? low.item<int64_t>() : high.item<int64_t>();
  if (bad < 0 || bad >= tokens.size(0))
    throw DataError("text",
                    "token id " + std::to_string(bad) + " is outside the model's " +
                        std::to_string(tokens.size(0)) + " embeddings",
                    "Check that tokenizer and model belong together.");
  const at::Tensor embeds =
      at::embedding(tokens, ids).to(at::kFloat) + positions.slice(0, 0, ids.size(1)).to(at::kFloat);
  const at::Tensor pooled =
      config.eos_token_id == 2 ? ids.argmax(1) : ids.eq(config.eos_token_id).to(at::kInt).argmax(1);
  const at::Tensor behind = at::arange(ids.size(1)).unsqueeze(0).gt(pooled.unsqueeze(1));
  const at::Tensor mask = at::zeros(behind.sizes(), at::kFloat)
                              .masked_fill_(behind, kMasked)
                              .view({ids.size(0), 1, 1, ids.size(1)});
  return {embeds.contiguous(), pooled.to(at::kInt), mask};
}

}  // namespace parapet
