#include "parapet/models/llava/llava.h"

#include <ATen/ATen.h>

#include "parapet/core/error.h"
#include "parapet/nn/as_type.h"
#include "parapet/nn/checkpoint.h"

namespace parapet {

namespace fs = std::filesystem;

// ---- the projector ---------------------------------------------------------

LlavaProjector::LlavaProjector(const LlavaConfig& config)
    : activation_(config.projector_hidden_act),
      linear_1_(config.vision_width() * static_cast<int64_t>(config.vision_feature_layers.size()),
                config.text.hidden_size, config.multimodal_projector_bias),
      linear_2_(config.text.hidden_size, config.text.hidden_size,
                config.multimodal_projector_bias) {}

at::Tensor LlavaProjector::forward(const at::Tensor& x) const {
  return linear_2_.forward(nn::activate(linear_1_.forward(x), activation_));
}

// ---- the model -------------------------------------------------------------

LlavaModel::LlavaModel(const LlavaConfig& config, const LlavaNames& names)
    : config_(config), names_(names), multi_modal_projector_(config), language_model_(config.text) {
  if (const auto* clip = std::get_if<ClipVisionConfig>(&config.vision))
    clip_tower_ = ClipVisionTower(*clip);
  else
    siglip_tower_ = SiglipVisionTower(std::get<SiglipVisionConfig>(config.vision));
}

at::Tensor LlavaModel::tower_states(const at::Tensor& pixels) const {
  const at::Tensor typed = nn::as_type(pixels, compute());
  std::vector<at::Tensor> parts;
  for (const int64_t layer : config_.vision_feature_layers) {
    const int64_t count = config_.layer_index(layer);
    const at::Tensor x = clip_tower_ ? clip_tower_->after_layers(typed, count)
                                     : siglip_tower_->after_layers(typed, count);
    parts.push_back(config_.drops_class_token ? x.slice(1, 1) : x);
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts, -1);
}

at::Tensor LlavaModel::project(const at::Tensor& states) const {
  return multi_modal_projector_.forward(nn::as_type(states, compute()));
}

at::Tensor LlavaModel::merge(const at::Tensor& ids, const at::Tensor& features) const {
  const at::Tensor embeds = language_model_.decoder().embed(ids, compute());
  const at::Tensor places = ids.eq(config_.image_token_id);
  const int64_t wanted = places.sum().item<int64_t>();
  const int64_t given = features.defined() ? features.size(0) * features.size(1) : 0;
  if (wanted != given)
    throw DataError("text",
                    "has " + std::to_string(wanted) + " places for picture states, but " +
                        std::to_string(given) + " were given",
                    "Each picture needs " + std::to_string(config_.image_tokens()) +
                        " image tokens (id " + std::to_string(config_.image_token_id) + ").");
  if (given == 0) return embeds;
  return embeds.masked_scatter(places.unsqueeze(-1).expand_as(embeds), features);
}

at::Tensor LlavaModel::embeds_of(const LlavaInput& input) const {
  if (input.embeds.defined()) return input.embeds;
  if (!input.pixels.defined() && !input.states.defined()) return merge(input.ids, {});
  return merge(input.ids,
               project(input.states.defined() ? input.states : tower_states(input.pixels)));
}

at::Tensor LlavaModel::hidden(const LlavaInput& input, std::vector<at::Tensor>* states) const {
  LlamaInput text;
  text.embeds = embeds_of(input);
  text.positions = input.positions;
  text.mask = input.mask;
  text.cache = input.cache;
  return language_model_.decoder().forward(text, compute(), states);
}

nn::TokenLoss LlavaModel::loss(const LlavaInput& input, const at::Tensor& labels) const {
  return language_model_.loss_of(hidden(input), labels);
}

void LlavaModel::walk(const nn::Visitor& visitor) { nn::walk_parts("", *this, visitor); }
void LlavaModel::walk(const nn::ConstVisitor& visitor) const { nn::walk_parts("", *this, visitor); }

// ---- files -----------------------------------------------------------------

nn::TensorMap LlavaModel::tensor_map() const {
  const std::string top = names_.nested ? "model." : "";
  const std::string tower = top + "vision_tower." + (names_.vision_model ? "vision_model." : "");
  std::vector<nn::TensorRule> rules = {
      nn::drop("*rotary_emb.inv_freq", "a buffer of files of old versions"),
      nn::drop("*position_ids", "a buffer of files of old versions")};
  if (names_.nested || names_.vision_model)
    rules.push_back(nn::rename(tower + "*", "vision_tower.*"));
  if (names_.nested) {
    rules.push_back(nn::rename("model.multi_modal_projector.*", "multi_modal_projector.*"));
    rules.push_back(nn::rename("model.language_model.*", "language_model.model.*"));
    rules.push_back(nn::rename("lm_head.*", "language_model.lm_head.*"));
  }
  if (config_.text.tie_word_embeddings)
    rules.push_back(
        nn::tie("language_model.lm_head.weight", "language_model.model.embed_tokens.weight"));
  return nn::TensorMap(std::move(rules));
}

namespace {

LlavaNames names_of(const TensorArchive& archive) {
  LlavaNames names{.nested = false, .vision_model = false};
  for (const auto& [name, view] : archive.tensors()) {
    names.nested |= name.starts_with("model.language_model.");
    names.vision_model |= name.find("vision_tower.vision_model.") != std::string::npos;
  }
  return names;
}

}  // namespace

LlavaModel LlavaModel::load(const fs::path& folder, const LoadModelOptions& options) {
  const LlavaConfig config = LlavaConfig::load(folder);
  const TensorArchive archive = TensorArchive::open(folder, "model", options.storage);
  LlavaModel model(config, names_of(archive));
  nn::load_parameters(model, archive, {options.device, options.dtype, model.tensor_map()});
  return model;
}

// The language model's alone, as LLaVA's own recipe has it; the tower has modules of the same
// names.
std::vector<std::string> LlavaModel::lora_targets() const {
  std::vector<std::string> targets;
  const std::vector<std::string> kinds = language_model_.lora_targets();
  nn::each_linear(*this, [&](const std::string& path, const nn::Linear&) {
    if (!path.starts_with("language_model.model.")) return;
    for (const std::string& kind : kinds)
      if (path.ends_with("." + kind)) targets.push_back(path);
  });
  return targets;
}

ModelFamily llava_family() {
  return {.name = "llava",
          .model_types = {"llava"},
          .architectures = {"LlavaForConditionalGeneration"},
          .load = [](const fs::path& folder,
                     const LoadModelOptions& options) -> std::unique_ptr<Model> {
            return std::make_unique<LlavaModel>(LlavaModel::load(folder, options));
          }};
}

}  // namespace parapet
