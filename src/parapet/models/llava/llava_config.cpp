#include "parapet/models/llava/llava_config.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/models/config_fields.h"

namespace parapet {
namespace {

using nlohmann::json;

const json& part(const json& object, const char* field, const std::string& source) {
  const auto it = object.find(field);
  if (it == object.end() || !it->is_object())
    throw DataError(source, std::string("has no object '") + field + "'",
                    "Give a LLaVA folder of transformers (LlavaForConditionalGeneration).");
  return *it;
}

std::variant<ClipVisionConfig, SiglipVisionConfig> read_vision(const json& object,
                                                               const std::string& source) {
  const auto type = json_field_or<std::string>(object, "model_type", "clip_vision_model", source);
  if (type == "siglip_vision_model") return SiglipVisionConfig::parse(object, source);
  if (type != "clip_vision_model")
    throw DataError(source, "field 'model_type' is '" + type +
                                "'; vision towers here are clip_vision_model and "
                                "siglip_vision_model");
  json tower = object;
  tower.erase("architectures");  // whatever class the tower was cut from
  return ClipConfig::parse(tower, source).vision;
}

std::vector<int64_t> read_layers(const json& object, const std::string& source) {
  const auto it = object.find("vision_feature_layer");
  if (it == object.end() || it->is_null()) return {-2};
  if (it->is_array())
    return json_field<std::vector<int64_t>>(object, "vision_feature_layer", source);
  return {json_field<int64_t>(object, "vision_feature_layer", source)};
}

void check(const LlavaConfig& config, const std::string& source) {
  if (config.vision_feature_layers.empty() || config.vision_feature_layers.size() > 64)
    throw DataError(source, "field 'vision_feature_layer' must name one layer or a few");
  for (const int64_t layer : config.vision_feature_layers)
    if (layer > config.vision_layers() || layer < -config.vision_layers() - 1)
      throw DataError(source, "field 'vision_feature_layer' is " + std::to_string(layer) +
                                  ", but the vision tower has " +
                                  std::to_string(config.vision_layers()) + " layers");
  if (config.image_token_id < 0 || config.image_token_id >= config.text.vocab_size)
    throw DataError(source, "field 'image_token_index' is " +
                                std::to_string(config.image_token_id) +
                                ", but the vocabulary has " +
                                std::to_string(config.text.vocab_size) + " entries");
  if (config.image_tokens() < 1)
    throw DataError(source, "the vision tower gives no patches beside what is dropped");
}

}  // namespace

int64_t LlavaConfig::vision_width() const {
  return std::visit([](const auto& tower) { return tower.hidden_size; }, vision);
}
int64_t LlavaConfig::vision_layers() const {
  return std::visit([](const auto& tower) { return tower.num_hidden_layers; }, vision);
}
int64_t LlavaConfig::image_size() const {
  return std::visit([](const auto& tower) { return tower.image_size; }, vision);
}

int64_t LlavaConfig::image_tokens() const {
  const bool has_class_token = std::holds_alternative<ClipVisionConfig>(vision);
  const int64_t patches = std::visit([](const auto& tower) { return tower.patches(); }, vision);
  // `transformers` drops the first state whether or not the tower has a class token.
  return patches + has_class_token - drops_class_token;
}

int64_t LlavaConfig::layer_index(int64_t layer) const {
  return layer < 0 ? vision_layers() + 1 + layer : layer;
}

LlavaConfig LlavaConfig::load(const std::filesystem::path& model_dir) {
  const auto file = model_dir / "config.json";
  return parse(load_json(file), file.string());
}

LlavaConfig LlavaConfig::parse(const json& object, const std::string& source) {
  if (!object.is_object()) throw DataError(source, "must be a JSON object");
  LlavaConfig config;
  config.vision = read_vision(part(object, "vision_config", source), source + ": vision_config");
  config.text = LlamaConfig::parse(part(object, "text_config", source), source + ": text_config");
  config.image_token_id = object.contains("image_token_index")
                              ? json_field<int64_t>(object, "image_token_index", source)
                              : json_field_or<int64_t>(object, "image_token_id", 32000, source);
  config.vision_feature_layers = read_layers(object, source);
  const auto strategy =
      json_field_or<std::string>(object, "vision_feature_select_strategy", "default", source);
  if (strategy != "default" && strategy != "full")
    throw DataError(source, "field 'vision_feature_select_strategy' is '" + strategy +
                                "', known are default and full");
  config.drops_class_token = strategy == "default";
  config.projector_hidden_act = nn::activation_from_name(
      json_field_or<std::string>(object, "projector_hidden_act", "gelu", source), source);
  config.multimodal_projector_bias =
      json_field_or<bool>(object, "multimodal_projector_bias", true, source);
  config.image_seq_length = bounded_field(object, "image_seq_length", 576, 0, 1 << 20, source);
  if (json_field_or<bool>(object, "tie_word_embeddings", false, source))
    config.text.tie_word_embeddings = true;
  check(config, source);
  return config;
}

json LlavaConfig::to_json() const {
  json vision_object;
  if (const auto* clip = std::get_if<ClipVisionConfig>(&vision)) {
    ClipConfig whole;
    whole.kind = ClipKind::kVision;
    whole.vision = *clip;
    vision_object = whole.to_json();
    vision_object.erase("architectures");
    vision_object.erase("dtype");
  } else {
    vision_object = std::get<SiglipVisionConfig>(vision).to_json();
  }
  json text_object = text.to_json();
  text_object.erase("architectures");
  text_object.erase("dtype");
  json layers = vision_feature_layers;
  if (vision_feature_layers.size() == 1) layers = vision_feature_layers.front();
  return {{"architectures", {"LlavaForConditionalGeneration"}},
          {"model_type", "llava"},
          {"vision_config", vision_object},
          {"text_config", text_object},
          {"image_token_index", image_token_id},
          {"image_seq_length", image_seq_length},
          {"vision_feature_layer", layers},
          {"vision_feature_select_strategy", drops_class_token ? "default" : "full"},
          {"projector_hidden_act", nn::activation_name(projector_hidden_act)},
          {"multimodal_projector_bias", multimodal_projector_bias},
          {"tie_word_embeddings", text.tie_word_embeddings}};
}

}  // namespace parapet
