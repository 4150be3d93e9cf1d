// Loading and random initialisation of Llama folders, and Llama's place in the registry.
#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "parapet/core/random.h"
#include "parapet/models/llama/llama.h"
#include "parapet/models/registry.h"
#include "parapet/nn/checkpoint.h"

namespace parapet {

namespace fs = std::filesystem;

LlamaModel LlamaModel::load(const fs::path& folder, const LoadModelOptions& options) {
  LlamaModel model(LlamaConfig::load(folder));
  const TensorArchive archive = TensorArchive::open(folder, "model", options.storage);
  nn::load_parameters(model, archive, {options.device, options.dtype, model.tensor_map()});
  return model;
}

nlohmann::json LlamaModel::config_json() const { return config_.to_json(); }

nn::TensorMap LlamaModel::tensor_map() const {
  std::vector<nn::TensorRule> rules = {
      nn::drop("*rotary_emb.inv_freq", "a buffer of files of old versions")};
  if (config_.tie_word_embeddings)
    rules.push_back(nn::tie("lm_head.weight", "model.embed_tokens.weight"));
  return nn::TensorMap(std::move(rules));
}

std::vector<std::string> LlamaModel::lora_targets() const {
  return {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"};
}

LlamaModel LlamaModel::random(const LlamaConfig& config, uint64_t seed) {
  LlamaModel model(config);
  nn::each_parameter(model, [&](const std::string& name, nn::Parameter& parameter) {
    if (name.ends_with("norm.weight")) {
      parameter.value = at::ones(parameter.shape, at::kFloat);
      return;
    }
    parameter.value = at::zeros(parameter.shape, at::kFloat);
    if (name.ends_with(".bias")) return;
    Random random = Random::named(seed, "llama.init." + name);
    float* data = parameter.value.data_ptr<float>();
    for (int64_t i = 0; i < parameter.value.numel(); ++i)
      data[i] = static_cast<float>(random.normal() * config.initializer_range);
  });
  return model;
}

ModelFamily llama_family() {
  return {.name = "llama",
          .model_types = {"llama", "qwen2"},
          .architectures = {"LlamaForCausalLM", "Qwen2ForCausalLM"},
          .load = [](const fs::path& folder,
                     const LoadModelOptions& options) -> std::unique_ptr<Model> {
            return std::make_unique<LlamaModel>(LlamaModel::load(folder, options));
          }};
}

}  // namespace parapet
