#include "parapet/engine/encoder/clip_text_inputs.h"

#include <ATen/ATen.h>

#include <cmath>

#include "parapet/core/error.h"
#include "parapet/nn/checkpoint.h"

namespace parapet {
namespace {

// Below every attention score, finite in bfloat16.
constexpr float kMasked = -30000;

}  // namespace

ClipSideTensors load_clip_side_tensors(const std::filesystem::path& folder, bool text,
                                       TensorStorage storage) {
  const std::string tokens = "embeddings.token_embedding.weight";
  const std::string positions = "embeddings.position_embedding.weight";
  const TensorArchive archive =
      TensorArchive::open(folder, "model", storage, [&](const std::string& name) {
        return name == "logit_scale" || name.ends_with(tokens) || name.ends_with(positions);
      });
  // With or without the tower's prefix.
  const auto find = [&](const std::string& name) {
    if (const TensorView* view = archive.find("text_model." + name)) return nn::to_tensor(*view);
    if (const TensorView* view = archive.find(name)) return nn::to_tensor(*view);
    throw DataError(archive.path().string(), "tensor 'text_model." + name + "' is missing");
  };
  ClipSideTensors side;
  if (text) side.tokens = find(tokens), side.positions = find(positions);
  if (const TensorView* scale = archive.find("logit_scale"))
    side.logit_scale = std::exp(nn::to_tensor(*scale).to(at::kDouble).item<double>());
  return side;
}

std::vector<at::Tensor> clip_text_inputs(const ClipTextConfig& config, const ClipSideTensors& side,
                                         const at::Tensor& ids) {
  const auto& [tokens, positions, scale] = side;
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
