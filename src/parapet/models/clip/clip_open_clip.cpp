#include "parapet/models/clip/clip_open_clip.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"

namespace parapet {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

const std::vector<double> kMean = {0.48145466, 0.4578275, 0.40821073};
const std::vector<double> kStd = {0.26862954, 0.26130258, 0.27577711};

// open_clip computes int(width * mlp_ratio); a plain quotient may fall just short.
double mlp_ratio(int64_t width, int64_t intermediate) {
  const auto w = static_cast<double>(width);
  const double ratio = static_cast<double>(intermediate) / w;
  if (static_cast<int64_t>(w * ratio) == intermediate) return ratio;
  return (static_cast<double>(intermediate) + 0.5) / w;
}

// Fields with open_clip's defaults left out, as its published files do.
template <class Tower>
void add_common(json& object, const Tower& tower) {
  object["layers"] = tower.num_hidden_layers;
  object["width"] = tower.hidden_size;
  if (tower.intermediate_size != 4 * tower.hidden_size)
    object["mlp_ratio"] = mlp_ratio(tower.hidden_size, tower.intermediate_size);
  if (tower.layer_norm_eps != 1e-5) object["norm_kwargs"] = {{"eps", tower.layer_norm_eps}};
  if (tower.hidden_act == nn::Activation::kGeluTanh)
    object["act_kwargs"] = {{"approximate", "tanh"}};
}

json preprocess_cfg(const fs::path& assets) {
  json object = {
      {"mean", kMean}, {"std", kStd}, {"interpolation", "bicubic"}, {"resize_mode", "shortest"}};
  const fs::path file = assets / "preprocessor_config.json";
  if (assets.empty() || !fs::exists(file)) return object;
  const json ours = load_json(file);
  object["mean"] = json_field_or(ours, "image_mean", kMean, file.string());
  object["std"] = json_field_or(ours, "image_std", kStd, file.string());
  return object;
}

template <class Tower>
void read_common(const json& object, Tower& tower, nn::Activation activation,
                 const std::string& source) {
  tower.num_hidden_layers = json_field_or<int64_t>(object, "layers", 12, source);
  tower.hidden_size = json_field_or<int64_t>(object, "width", tower.hidden_size, source);
  const double ratio = json_field_or<double>(object, "mlp_ratio", 4.0, source);
  if (!(ratio > 0 && ratio < 64)) throw DataError(source, "field 'mlp_ratio' is out of range");
  tower.intermediate_size = static_cast<int64_t>(static_cast<double>(tower.hidden_size) * ratio);
  tower.hidden_act = activation;
  const json norm = object.value("norm_kwargs", json::object());
  if (norm.is_object()) tower.layer_norm_eps = json_field_or<double>(norm, "eps", 1e-5, source);
  const json act = object.value("act_kwargs", json::object());
  if (act.is_object() && act.value("approximate", json()) == "tanh")
    tower.hidden_act = nn::Activation::kGeluTanh;
  for (const char* field : {"timm_model_name", "hf_model_name", "ls_init_value", "block_type"})
    if (object.contains(field) && !object[field].is_null())
      throw DataError(source, std::string("field '") + field + "' describes another architecture",
                      "Only open_clip's own ViT CLIP models can be read.");
  for (const char* field : {"attentional_pool", "no_ln_pre", "embed_cls", "no_causal_mask",
                            "final_ln_after_pool", "proj_bias", "qk_norm"})
    if (json_field_or<bool>(object, field, false, source))
      throw DataError(source, std::string("field '") + field + "' has no counterpart in CLIPModel");
}

json part_of(const json& object, const char* field, const std::string& source) {
  if (!object.is_object() || !object.contains(field) || !object[field].is_object())
    throw DataError(source, std::string("field '") + field + "' is missing or not an object");
  return object[field];
}

}  // namespace

json open_clip_config(const ClipConfig& config, const fs::path& assets) {
  const ClipTextConfig& text = config.text;
  const ClipVisionConfig& vision = config.vision;
  const bool known = vision.hidden_act == nn::Activation::kQuickGelu ||
                     vision.hidden_act == nn::Activation::kGelu ||
                     vision.hidden_act == nn::Activation::kGeluTanh;
  if (text.hidden_act != vision.hidden_act || !known)
    throw UsageError(
        "export: open_clip has one activation for both towers, quick_gelu or gelu; "
        "this model has " +
        nn::activation_name(text.hidden_act) + " and " + nn::activation_name(vision.hidden_act));
  json vision_cfg = {{"image_size", vision.image_size}, {"patch_size", vision.patch_size}};
  add_common(vision_cfg, vision);
  if (vision.hidden_size / vision.num_attention_heads != 64)
    vision_cfg["head_width"] = vision.hidden_size / vision.num_attention_heads;
  json text_cfg = {{"context_length", text.max_position_embeddings},
                   {"vocab_size", text.vocab_size},
                   {"heads", text.num_attention_heads}};
  add_common(text_cfg, text);
  // open_clip pools at the largest id unless told otherwise.
  if (text.eos_token_id != 2 && text.eos_token_id != text.vocab_size - 1)
    text_cfg.update({{"pool_type", "eos"}, {"eos_id", text.eos_token_id}});
  return {{"model_cfg",
           {{"embed_dim", config.projection_dim},
            {"quick_gelu", vision.hidden_act == nn::Activation::kQuickGelu},
            {"vision_cfg", vision_cfg},
            {"text_cfg", text_cfg}}},
          {"preprocess_cfg", preprocess_cfg(assets)}};
}

ClipConfig read_open_clip_config(const fs::path& file) {
  const std::string source = file.string();
  const json root = load_json(file);
  // Files inside the open_clip package have no outer "model_cfg".
  const json model =
      root.is_object() && root.contains("model_cfg") ? part_of(root, "model_cfg", source) : root;
  const json text = part_of(model, "text_cfg", source);
  const json vision = part_of(model, "vision_cfg", source);
  const auto activation = json_field_or<bool>(model, "quick_gelu", false, source)
                              ? nn::Activation::kQuickGelu
                              : nn::Activation::kGelu;
  ClipConfig config;
  config.projection_dim = json_field<int64_t>(model, "embed_dim", source);
  config.text.projection_dim = config.vision.projection_dim = config.projection_dim;
  read_common(text, config.text, activation, source + ": text_cfg");
  config.text.num_attention_heads = json_field_or<int64_t>(text, "heads", 8, source);
  config.text.vocab_size = json_field_or<int64_t>(text, "vocab_size", 49408, source);
  config.text.max_position_embeddings = json_field_or<int64_t>(text, "context_length", 77, source);
  config.text.bos_token_id = config.text.vocab_size - 2;
  config.text.eos_token_id = config.text.vocab_size - 1;
  const auto pool = json_field_or<std::string>(text, "pool_type", "argmax", source);
  if (pool == "eos")
    config.text.eos_token_id = json_field_or<int64_t>(text, "eos_id", 2, source);
  else if (pool != "argmax")
    throw DataError(source, "field 'pool_type' is '" + pool + "'", "Known: argmax, eos.");
  read_common(vision, config.vision, activation, source + ": vision_cfg");
  const int64_t head_width = json_field_or<int64_t>(vision, "head_width", 64, source);
  if (head_width < 1) throw DataError(source, "field 'head_width' must be >= 1");
  config.vision.num_attention_heads = config.vision.hidden_size / head_width;
  config.vision.image_size = json_field_or<int64_t>(vision, "image_size", 224, source);
  config.vision.patch_size = json_field_or<int64_t>(vision, "patch_size", 16, source);
  return ClipConfig::parse(config.to_json(), source);  // the same checks as for config.json
}

json open_clip_preprocessor(const fs::path& file) {
  const json root = load_json(file);
  const ClipConfig config = read_open_clip_config(file);
  const json given = root.value("preprocess_cfg", json::object());
  const int64_t size = config.vision.image_size;
  return {{"image_processor_type", "CLIPImageProcessor"},
          {"do_convert_rgb", true},
          {"do_resize", true},
          {"size", {{"shortest_edge", size}}},
          {"resample", 3},
          {"do_center_crop", true},
          {"crop_size", {{"height", size}, {"width", size}}},
          {"do_rescale", true},
          {"rescale_factor", 1.0 / 255.0},
          {"do_normalize", true},
          {"image_mean", json_field_or(given, "mean", kMean, file.string())},
          {"image_std", json_field_or(given, "std", kStd, file.string())}};
}

}  // namespace parapet
