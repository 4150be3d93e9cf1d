#include "parapet/models/clip/clip_config.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"

namespace parapet {
namespace {

using nlohmann::json;

int64_t bounded(const json& object, const char* field, int64_t fallback, int64_t low, int64_t high,
                const std::string& source) {
  const int64_t value = json_field_or<int64_t>(object, field, fallback, source);
  if (value < low || value > high)
    throw DataError(source, std::string("field '") + field + "' is " + std::to_string(value) +
                                ", must be in " + std::to_string(low) + ".." +
                                std::to_string(high));
  return value;
}

// The fields that both towers share.
template <class Tower>
void read_tower(const json& object, Tower& tower, const std::string& source) {
  tower.hidden_size = bounded(object, "hidden_size", tower.hidden_size, 1, 16384, source);
  tower.intermediate_size =
      bounded(object, "intermediate_size", tower.intermediate_size, 1, 65536, source);
  tower.num_hidden_layers =
      bounded(object, "num_hidden_layers", tower.num_hidden_layers, 1, 256, source);
  tower.num_attention_heads =
      bounded(object, "num_attention_heads", tower.num_attention_heads, 1, 256, source);
  tower.projection_dim = bounded(object, "projection_dim", tower.projection_dim, 1, 16384, source);
  tower.layer_norm_eps = json_field_or<double>(object, "layer_norm_eps", 1e-5, source);
  if (!(tower.layer_norm_eps >= 0 && tower.layer_norm_eps < 1))
    throw DataError(source, "field 'layer_norm_eps' must be in [0, 1)");
  tower.hidden_act = nn::activation_from_name(
      json_field_or<std::string>(object, "hidden_act", "quick_gelu", source), source);
  if (tower.hidden_size % tower.num_attention_heads != 0)
    throw DataError(source, "hidden_size " + std::to_string(tower.hidden_size) +
                                " is not a multiple of num_attention_heads " +
                                std::to_string(tower.num_attention_heads));
}

ClipTextConfig read_text(const json& object, const std::string& source) {
  ClipTextConfig text;
  read_tower(object, text, source);
  text.vocab_size = bounded(object, "vocab_size", text.vocab_size, 1, 2'000'000, source);
  text.max_position_embeddings =
      bounded(object, "max_position_embeddings", text.max_position_embeddings, 2, 65536, source);
  text.bos_token_id = json_field_or<int64_t>(object, "bos_token_id", 49406, source);
  text.eos_token_id = json_field_or<int64_t>(object, "eos_token_id", 49407, source);
  text.pad_token_id = json_field_or<int64_t>(object, "pad_token_id", 1, source);
  return text;
}

ClipVisionConfig read_vision(const json& object, const std::string& source) {
  ClipVisionConfig vision;
  read_tower(object, vision, source);
  vision.num_channels = bounded(object, "num_channels", 3, 1, 3, source);
  vision.image_size = bounded(object, "image_size", vision.image_size, 1, 4096, source);
  vision.patch_size = bounded(object, "patch_size", vision.patch_size, 1, 4096, source);
  if (vision.num_channels != 3)
    throw DataError(source, "field 'num_channels' must be 3", "Only RGB models can be loaded.");
  if (vision.image_size < vision.patch_size)
    throw DataError(source, "image_size is smaller than patch_size");
  return vision;
}

ClipKind read_kind(const json& object, const std::string& source) {
  const auto type = json_field_or<std::string>(object, "model_type", "clip", source);
  std::string architecture;
  if (const auto it = object.find("architectures");
      it != object.end() && it->is_array() && !it->empty() && it->front().is_string())
    architecture = it->front().get<std::string>();
  if (architecture == "CLIPTextModelWithProjection") return ClipKind::kTextWithProjection;
  if (architecture == "CLIPTextModel") return ClipKind::kText;
  if (architecture == "CLIPVisionModelWithProjection") return ClipKind::kVisionWithProjection;
  if (architecture == "CLIPVisionModel") return ClipKind::kVision;
  if (architecture == "CLIPForImageClassification")
    throw DataError(source,
                    "field 'architectures' is CLIPForImageClassification, which has no "
                    "embeddings",
                    "Give a CLIPModel or one of its towers.");
  if (type == "clip_text_model") return ClipKind::kText;
  if (type == "clip_vision_model") return ClipKind::kVision;
  if (type == "clip") return ClipKind::kFull;
  throw DataError(source, "field 'model_type' is '" + type + "'",
                  "This command needs a CLIP model (model_type \"clip\").");
}

template <class Tower>
json tower_json(const Tower& tower) {
  return {{"hidden_size", tower.hidden_size},
          {"intermediate_size", tower.intermediate_size},
          {"num_hidden_layers", tower.num_hidden_layers},
          {"num_attention_heads", tower.num_attention_heads},
          {"projection_dim", tower.projection_dim},
          {"layer_norm_eps", tower.layer_norm_eps},
          {"hidden_act", nn::activation_name(tower.hidden_act)},
          {"attention_dropout", 0.0},
          {"initializer_factor", 1.0},
          {"initializer_range", 0.02}};
}

json text_json(const ClipTextConfig& text) {
  json object = tower_json(text);
  object.update({{"model_type", "clip_text_model"},
                 {"vocab_size", text.vocab_size},
                 {"max_position_embeddings", text.max_position_embeddings},
                 {"bos_token_id", text.bos_token_id},
                 {"eos_token_id", text.eos_token_id},
                 {"pad_token_id", text.pad_token_id}});
  return object;
}

json vision_json(const ClipVisionConfig& vision) {
  json object = tower_json(vision);
  object.update({{"model_type", "clip_vision_model"},
                 {"num_channels", vision.num_channels},
                 {"image_size", vision.image_size},
                 {"patch_size", vision.patch_size}});
  return object;
}

}  // namespace

ClipConfig ClipConfig::load(const std::filesystem::path& model_dir) {
  const auto file = model_dir / "config.json";
  return parse(load_json(file), file.string());
}

ClipConfig ClipConfig::parse(const json& object, const std::string& source) {
  if (!object.is_object()) throw DataError(source, "must be a JSON object");
  ClipConfig config;
  config.kind = read_kind(object, source);
  // Old files hold text_config_dict and vision_config_dict as well: in `transformers` these win,
  // with defaults for what they leave out.
  auto part = [&](const std::string& name) -> json {
    for (const std::string& field : {name + "_dict", name}) {
      const auto it = object.find(field);
      if (it == object.end() || it->is_null()) continue;
      if (!it->is_object()) throw DataError(source, "field '" + field + "' must be an object");
      return *it;
    }
    return json::object();
  };
  if (config.kind == ClipKind::kFull) {
    config.text = read_text(part("text_config"), source + ": text_config");
    config.vision = read_vision(part("vision_config"), source + ": vision_config");
    config.projection_dim = bounded(object, "projection_dim", 512, 1, 16384, source);
    config.logit_scale_init_value =
        json_field_or<double>(object, "logit_scale_init_value", 2.6592, source);
  } else if (config.has_text()) {
    config.text = read_text(object.contains("text_config") ? part("text_config") : object, source);
    config.projection_dim = config.text.projection_dim;
  } else {
    config.vision =
        read_vision(object.contains("vision_config") ? part("vision_config") : object, source);
    config.projection_dim = config.vision.projection_dim;
  }
  return config;
}

json ClipConfig::to_json() const {
  auto named = [](json object, const char* architecture) {
    object["architectures"] = {architecture};
    object["dtype"] = "float32";
    return object;
  };
  switch (kind) {
    case ClipKind::kText:
      return named(text_json(text), "CLIPTextModel");
    case ClipKind::kTextWithProjection:
      return named(text_json(text), "CLIPTextModelWithProjection");
    case ClipKind::kVision:
      return named(vision_json(vision), "CLIPVisionModel");
    case ClipKind::kVisionWithProjection:
      return named(vision_json(vision), "CLIPVisionModelWithProjection");
    case ClipKind::kFull:
      break;
  }
  return named({{"model_type", "clip"},
                {"projection_dim", projection_dim},
                {"logit_scale_init_value", logit_scale_init_value},
                {"initializer_factor", 1.0},
                {"text_config", text_json(text)},
                {"vision_config", vision_json(vision)}},
               "CLIPModel");
}

}  // namespace parapet
