// The configuration of Llama (2 and 3, Vicuna, SmolLM2) and Qwen2 (2 and 2.5) as Hugging Face
// writes it. Qwen2 is the same decoder with biases on queries, keys and values.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "parapet/nn/layers.h"
#include "parapet/nn/rotary.h"

namespace parapet {

struct LlamaConfig {
  std::string model_type = "llama";  // or "qwen2"
  int64_t vocab_size = 32000;
  int64_t hidden_size = 4096;
  int64_t intermediate_size = 11008;
  int64_t num_hidden_layers = 32;
  int64_t num_attention_heads = 32;
  int64_t num_key_value_heads = 32;
  int64_t head_dim = 128;
  int64_t max_position_embeddings = 2048;
  double rms_norm_eps = 1e-6;
  double initializer_range = 0.02;
  nn::Activation hidden_act = nn::Activation::kSilu;
  bool attention_bias = false;  // on q, k and v
  bool output_bias = false;     // on o; as attention_bias for Llama, never for Qwen2
  bool mlp_bias = false;
  bool tie_word_embeddings = false;  // the output layer is the embedding table
  nn::RotaryOptions rotary;
  std::optional<int64_t> bos_token_id, pad_token_id;
  std::vector<int64_t> eos_token_ids;  // any of them ends a text; may be empty

  bool is_qwen2() const { return model_type == "qwen2"; }

  // DataError names file and field for wrong types, sizes that do not divide, and values beyond any
  // published model (caps before allocation).
  static LlamaConfig load(const std::filesystem::path& model_dir);
  // The same from the file's contents; `source` names it in errors.
  static LlamaConfig parse(const nlohmann::json& object, const std::string& source);
  nlohmann::json to_json() const;
};

}  // namespace parapet
