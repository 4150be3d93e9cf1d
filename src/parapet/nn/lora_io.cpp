// PEFT's folder layout: adapter_config.json and adapter_model.safetensors.
#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/formats/safetensors.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/nn/lora.h"

namespace parapet::nn {
namespace {

namespace fs = std::filesystem;
constexpr std::string_view kPrefix = "base_model.model.";

// Checkpoint shapes of the two factors: a Conv2d base gives Conv2d factors.
std::vector<int64_t> a_shape(const Linear& linear, int64_t r) {
  if (linear.kernel() == 0) return {r, linear.in_features()};
  const int64_t k = linear.kernel();
  return {r, linear.in_features() / (k * k), k, k};
}
std::vector<int64_t> b_shape(const Linear& linear, int64_t r) {
  if (linear.kernel() == 0) return {linear.out_features(), r};
  return {linear.out_features(), r, 1, 1};
}

// Settings that would change the result and that we do not implement are refused by name.
LoraOptions read_config(const fs::path& file) {
  const nlohmann::json config = load_json(file);
  const std::string source = file.string();
  if (json_field_or<std::string>(config, "peft_type", "LORA", source) != "LORA")
    throw DataError(source, "peft_type is not LORA", "Only LoRA adapters can be applied.");
  for (const char* flag : {"use_dora", "fan_in_fan_out", "lora_bias"})
    if (config.contains(flag) && config[flag] == true)
      throw DataError(source, std::string("field '") + flag + "' is not supported",
                      "Merge the adapter with peft first (merge_and_unload).");
  for (const char* field :
       {"modules_to_save", "rank_pattern", "alpha_pattern", "layers_to_transform"})
    if (config.contains(field) && !config[field].is_null() && !config[field].empty())
      throw DataError(source, std::string("field '") + field + "' is not supported",
                      "Merge the adapter with peft first (merge_and_unload).");
  if (json_field_or<std::string>(config, "bias", "none", source) != "none")
    throw DataError(source, "field 'bias' must be \"none\"",
                    "Merge the adapter with peft first (merge_and_unload).");
  LoraOptions options;
  options.r = json_field<int64_t>(config, "r", source);
  options.alpha = json_field<double>(config, "lora_alpha", source);
  options.dropout = json_field_or<double>(config, "lora_dropout", 0.0, source);
  options.rslora = json_field_or<bool>(config, "use_rslora", false, source);
  if (config.contains("target_modules") && config["target_modules"].is_array())
    options.targets = json_field<std::vector<std::string>>(config, "target_modules", source);
  if (options.r < 1 || options.r > 4096) throw DataError(source, "field 'r' must be in 1..4096");
  return options;
}

}  // namespace

void save_lora(const LinearWalk& walk, const LoraOptions& options, const fs::path& folder,
               const std::string& base_model) {
  fs::create_directories(folder);
  NamedTensors tensors;
  walk([&](const std::string& path, Linear& linear) {
    if (!linear.lora) return;
    const std::string name = std::string(kPrefix) + path;
    const int64_t r = linear.lora->a.size(0);
    tensors.emplace_back(name + ".lora_A.weight",
                         linear.lora->a.detach().reshape(a_shape(linear, r)));
    tensors.emplace_back(name + ".lora_B.weight",
                         linear.lora->b.detach().reshape(b_shape(linear, r)));
  });
  save_tensors(folder / "adapter_model.safetensors", tensors);
  save_json(folder / "adapter_config.json", {{"peft_type", "LORA"},
                                             {"task_type", nullptr},
                                             {"base_model_name_or_path", base_model},
                                             {"r", options.r},
                                             {"lora_alpha", options.alpha},
                                             {"lora_dropout", options.dropout},
                                             {"use_rslora", options.rslora},
                                             {"target_modules", options.targets},
                                             {"bias", "none"},
                                             {"fan_in_fan_out", false},
                                             {"inference_mode", true},
                                             {"init_lora_weights", true},
                                             {"modules_to_save", nullptr}});
}

LoraOptions load_lora(const LinearWalk& walk, const fs::path& folder) {
  const LoraOptions options = read_config(folder / "adapter_config.json");
  const TensorArchive archive = TensorArchive::open(folder, "adapter_model");
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, view] : archive.tensors()) {
    std::string key = name;
    if (key.starts_with(kPrefix)) key.erase(0, kPrefix.size());
    tensors[key] = to_tensor(view);
  }
  const std::string source = archive.path().string();
  auto take = [&](const std::string& name, const std::vector<int64_t>& shape,
                  const at::Tensor& like) {
    const auto it = tensors.find(name);
    if (it == tensors.end()) throw DataError(source, "tensor '" + name + "' is missing");
    if (it->second.sizes().vec() != shape)
      throw DataError(source, "tensor '" + name + "' has the wrong shape",
                      "Check that the adapter was made for this model.");
    at::Tensor value =
        it->second.to(at::TensorOptions().dtype(at::kFloat).device(like.device()), false, true);
    tensors.erase(it);
    return value;
  };
  walk([&](const std::string& path, Linear& linear) {
    if (!tensors.contains(path + ".lora_A.weight")) return;
    auto lora = std::make_unique<LoraAdapter>();
    const at::Tensor& like = linear.weight().value;
    lora->a = take(path + ".lora_A.weight", a_shape(linear, options.r), like)
                  .view({options.r, linear.in_features()});
    lora->b = take(path + ".lora_B.weight", b_shape(linear, options.r), like)
                  .view({linear.out_features(), options.r});
    lora->scale = options.scale();
    lora->dropout = options.dropout;
    linear.lora = std::move(lora);
  });
  if (!tensors.empty())
    throw DataError(source, "tensor '" + tensors.begin()->first + "' fits no layer of this model",
                    "Check that the adapter was made for this model.");
  return options;
}

}  // namespace parapet::nn
