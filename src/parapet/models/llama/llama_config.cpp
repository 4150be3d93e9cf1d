#include "parapet/models/llama/llama_config.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/models/config_fields.h"
#include "parapet/models/rotary_config.h"

namespace parapet {
namespace {

using nlohmann::json;

// Absent and null are the same in these files.
bool given(const json& object, const char* field) {
  const auto it = object.find(field);
  return it != object.end() && !it->is_null();
}

std::optional<int64_t> token_field(const json& object, const char* field,
                                   const std::string& source) {
  if (!given(object, field)) return std::nullopt;
  return json_field<int64_t>(object, field, source);
}

std::vector<int64_t> token_list(const json& object, const char* field, const std::string& source) {
  if (!given(object, field)) return {};
  if (object.at(field).is_array()) return json_field<std::vector<int64_t>>(object, field, source);
  return {json_field<int64_t>(object, field, source)};
}

void check_heads(const LlamaConfig& config, const std::string& source) {
  if (config.num_attention_heads % config.num_key_value_heads != 0)
    throw DataError(source, "num_attention_heads " + std::to_string(config.num_attention_heads) +
                                " is not a multiple of num_key_value_heads " +
                                std::to_string(config.num_key_value_heads));
}

// Qwen2 files can ask for attention to the nearest tokens only in some layers; no published one
// does.
void check_full_attention(const json& object, const std::string& source) {
  if (json_field_or<bool>(object, "use_sliding_window", false, source))
    throw DataError(source, "field 'use_sliding_window': windows of attention are not supported");
  if (!given(object, "layer_types")) return;
  for (const auto& type : json_field<std::vector<std::string>>(object, "layer_types", source))
    if (type != "full_attention")
      throw DataError(source,
                      "field 'layer_types' has '" + type + "', only full_attention is supported");
}

// What the two classes of `transformers` have that the other has not.
json own_fields(const LlamaConfig& config) {
  if (config.is_qwen2())
    return {{"architectures", {"Qwen2ForCausalLM"}},
            {"use_sliding_window", false},
            {"sliding_window", nullptr}};
  return {{"architectures", {"LlamaForCausalLM"}},
          {"head_dim", config.head_dim},
          {"attention_bias", config.attention_bias},
          {"mlp_bias", config.mlp_bias}};
}

}  // namespace

LlamaConfig LlamaConfig::load(const std::filesystem::path& model_dir) {
  const auto file = model_dir / "config.json";
  return parse(load_json(file), file.string());
}

LlamaConfig LlamaConfig::parse(const json& object, const std::string& source) {
  if (!object.is_object()) throw DataError(source, "must be a JSON object");
  LlamaConfig config;
  config.model_type = json_field_or<std::string>(object, "model_type", "llama", source);
  if (config.model_type != "llama" && !config.is_qwen2())
    throw DataError(source, "field 'model_type' is '" + config.model_type +
                                "'; language models here are llama and qwen2");
  auto size = [&](const char* field, int64_t fallback, int64_t most) {
    return bounded_field(object, field, fallback, 1, most, source);
  };
  config.vocab_size = size("vocab_size", 32000, 2'000'000);
  config.hidden_size = size("hidden_size", 4096, 65536);
  config.intermediate_size = size("intermediate_size", 11008, 1 << 20);
  config.num_hidden_layers = size("num_hidden_layers", 32, 1024);
  config.num_attention_heads = size("num_attention_heads", 32, 1024);
  config.num_key_value_heads = size("num_key_value_heads", config.num_attention_heads, 1024);
  if (!given(object, "head_dim") && config.hidden_size % config.num_attention_heads != 0)
    throw DataError(source, "hidden_size " + std::to_string(config.hidden_size) +
                                " is not a multiple of num_attention_heads " +
                                std::to_string(config.num_attention_heads));
  config.head_dim = size("head_dim", config.hidden_size / config.num_attention_heads, 4096);
  config.max_position_embeddings = size("max_position_embeddings", 2048, 1 << 30);
  config.rms_norm_eps = bounded_number(object, "rms_norm_eps", 1e-6, 0, 1, source);
  config.initializer_range = bounded_number(object, "initializer_range", 0.02, 0, 10, source);
  config.hidden_act = nn::activation_from_name(
      json_field_or<std::string>(object, "hidden_act", "silu", source), source);
  if (config.is_qwen2()) {
    config.attention_bias = true;
    check_full_attention(object, source);
  } else {
    config.attention_bias = json_field_or<bool>(object, "attention_bias", false, source);
    config.output_bias = config.attention_bias;
    config.mlp_bias = json_field_or<bool>(object, "mlp_bias", false, source);
  }
  config.tie_word_embeddings = json_field_or<bool>(object, "tie_word_embeddings", false, source);
  config.bos_token_id = token_field(object, "bos_token_id", source);
  config.pad_token_id = token_field(object, "pad_token_id", source);
  config.eos_token_ids = token_list(object, "eos_token_id", source);
  config.rotary = read_rotary(object, config.head_dim, config.max_position_embeddings, source);
  check_heads(config, source);
  if (json_field_or<double>(object, "attention_dropout", 0.0, source) != 0)
    throw DataError(source, "field 'attention_dropout' other than 0 is not supported");
  return config;
}

json LlamaConfig::to_json() const {
  auto token = [](const std::optional<int64_t>& id) { return id ? json(*id) : json(nullptr); };
  json eos = nullptr;
  if (eos_token_ids.size() == 1) eos = eos_token_ids.front();
  if (eos_token_ids.size() > 1) eos = eos_token_ids;
  json object = {{"model_type", model_type},
                 {"dtype", "float32"},
                 {"vocab_size", vocab_size},
                 {"hidden_size", hidden_size},
                 {"intermediate_size", intermediate_size},
                 {"num_hidden_layers", num_hidden_layers},
                 {"num_attention_heads", num_attention_heads},
                 {"num_key_value_heads", num_key_value_heads},
                 {"max_position_embeddings", max_position_embeddings},
                 {"rms_norm_eps", rms_norm_eps},
                 {"initializer_range", initializer_range},
                 {"hidden_act", nn::activation_name(hidden_act)},
                 {"attention_dropout", 0.0},
                 {"tie_word_embeddings", tie_word_embeddings},
                 {"use_cache", true},
                 {"bos_token_id", token(bos_token_id)},
                 {"pad_token_id", token(pad_token_id)},
                 {"eos_token_id", eos}};
  object.update(own_fields(*this));
  write_rotary(object, rotary);
  return object;
}

}  // namespace parapet
