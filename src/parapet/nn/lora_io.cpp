// PEFT's folder layout: adapter_config.json and adapter_model.safetensors.
#include <ATen/ATen.h>

#include <cmath>
#include <map>
#include <memory>
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

constexpr const char* kMergeHint = "Merge the adapter with peft first (merge_and_unload).";

[[noreturn]] void throw_unsupported(const std::string& source, const std::string& field) {
  throw DataError(source, "field '" + field + "' is not supported", kMergeHint);
}

// Settings that would change the result and that we do not implement are refused by name.
void refuse_unsupported(const nlohmann::json& config, const std::string& source) {
  for (const char* field :
       {"use_dora", "use_qalora", "use_bdlora", "fan_in_fan_out", "lora_bias", "modules_to_save",
        "rank_pattern", "alpha_pattern", "layers_to_transform", "layer_replication",
        "trainable_token_indices", "target_parameters", "alora_invocation_tokens", "arrow_config",
        "kasa_config", "velora_config", "monteclora_config"}) {
    const auto it = config.find(field);
    if (it == config.end() || it->is_null() || *it == false) continue;
    if ((it->is_object() || it->is_array()) && it->empty()) continue;
    throw_unsupported(source, field);
  }
  // Initialisations that change the base weights: the adapter does not fit the original ones.
  const auto init = config.find("init_lora_weights");
  if (init != config.end() && init->is_string() && *init != "gaussian" && *init != "eva" &&
      *init != "orthogonal")
    throw_unsupported(source, "init_lora_weights");
  if (json_field_or<std::string>(config, "bias", "none", source) != "none")
    throw DataError(source, "field 'bias' must be \"none\"", kMergeHint);
}

LoraOptions read_config(const fs::path& file) {
  const nlohmann::json config = load_json(file);
  const std::string source = file.string();
  if (json_field<std::string>(config, "peft_type", source) != "LORA")
    throw DataError(source, "peft_type is not LORA", "Only LoRA adapters can be applied.");
  refuse_unsupported(config, source);
  LoraOptions options;
  options.r = json_field<int64_t>(config, "r", source);
  options.alpha = json_field<double>(config, "lora_alpha", source);
  options.dropout = json_field_or<double>(config, "lora_dropout", 0.0, source);
  options.rslora = json_field_or<bool>(config, "use_rslora", false, source);
  if (config.contains("target_modules") && config["target_modules"].is_array())
    options.targets = json_field<std::vector<std::string>>(config, "target_modules", source);
  else
    options.targets.clear();  // a pattern: load_lora lists what the file adapts
  if (options.r < 1 || options.r > 4096) throw DataError(source, "field 'r' must be in 1..4096");
  if (!(options.dropout >= 0 && options.dropout < 1))
    throw DataError(source, "field 'lora_dropout' must be in [0, 1)");
  if (!std::isfinite(options.alpha)) throw DataError(source, "field 'lora_alpha' must be finite");
  return options;
}

// The tensors of an adapter file by layer path, each taken once.
class AdapterTensors {
 public:
  AdapterTensors(const fs::path& folder, const Module& module)
      : archive_(TensorArchive::open(folder, "adapter_model")) {
    std::vector<std::string> paths;
    each_linear(module, [&](const std::string& path, const Linear&) { paths.push_back(path); });
    for (const auto& [name, view] : archive_.tensors()) {
      std::string key = name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name;
      const size_t cut = key.rfind(".lora_");
      if (cut != std::string::npos) key = model_path(key.substr(0, cut), paths) + key.substr(cut);
      tensors_[key] = to_tensor(view);
    }
  }

  bool has(const std::string& name) const { return tensors_.contains(name); }

  // As float32; an undefined tensor after noting a problem.
  at::Tensor take(const std::string& name, const std::vector<int64_t>& shape,
                  const at::Device& device) {
    const auto it = tensors_.find(name);
    if (it == tensors_.end()) {
      problems_.push_back("missing '" + name + "'");
      return {};
    }
    const at::Tensor tensor = it->second;
    tensors_.erase(it);
    if (tensor.sizes().vec() != shape || !tensor.is_floating_point()) {
      problems_.push_back("'" + name + "' has the wrong shape or type");
      return {};
    }
    return tensor.to(at::TensorOptions().dtype(at::kFloat).device(device), false, true);
  }

  void finish() {
    for (const auto& [name, tensor] : tensors_)
      problems_.push_back("'" + name + "' fits no layer of this model");
    if (problems_.empty()) return;
    const size_t count = problems_.size();
    if (count > 12) {
      problems_.resize(12);
      problems_.push_back("... and " + std::to_string(count - 12) + " more");
    }
    throw DataError(archive_.path().string(),
                    "does not fit this model:\n  " + join(problems_, "\n  "),
                    "Check that the adapter was made for this model and rank.");
  }

 private:
  // A name may have more or fewer leading parts than the model's, where that leaves one choice.
  static std::string model_path(const std::string& key, const std::vector<std::string>& paths) {
    const std::string* found = nullptr;
    for (const std::string& path : paths) {
      if (path == key) return key;
      if (!path.ends_with("." + key) && !key.ends_with("." + path)) continue;
      if (found != nullptr) return key;
      found = &path;
    }
    return found == nullptr ? key : *found;
  }

  TensorArchive archive_;
  std::map<std::string, at::Tensor> tensors_;
  std::vector<std::string> problems_;
};

}  // namespace

void save_lora(const Module& module, const LoraOptions& options, const fs::path& folder,
               const LoraBase& base) {
  fs::create_directories(folder);
  NamedTensors tensors;
  each_linear(module, [&](const std::string& path, const Linear& linear) {
    if (!linear.lora) return;
    const std::string name = std::string(kPrefix) + path;
    const int64_t r = linear.lora->a.size(0);
    tensors.emplace_back(name + ".lora_A.weight",
                         linear.lora->a.detach().reshape(a_shape(linear, r)));
    tensors.emplace_back(name + ".lora_B.weight",
                         linear.lora->b.detach().reshape(b_shape(linear, r)));
  });
  save_tensors(folder / "adapter_model.safetensors", tensors);
  const nlohmann::json task_type =
      base.task_type.empty() ? nlohmann::json() : nlohmann::json(base.task_type);
  save_json(folder / "adapter_config.json", {{"peft_type", "LORA"},
                                             {"task_type", task_type},
                                             {"base_model_name_or_path", base.model},
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

LoraOptions load_lora(Module& module, const fs::path& folder) {
  LoraOptions options = read_config(folder / "adapter_config.json");
  AdapterTensors tensors(folder, module);
  std::map<std::string, std::unique_ptr<LoraAdapter>> adapters;
  each_linear(module, [&](const std::string& path, Linear& linear) {
    const std::string name_a = path + ".lora_A.weight", name_b = path + ".lora_B.weight";
    if (!tensors.has(name_a) && !tensors.has(name_b)) return;
    auto lora = std::make_unique<LoraAdapter>();
    const at::Device device = linear.weight().value.device();
    lora->a = tensors.take(name_a, a_shape(linear, options.r), device);
    lora->b = tensors.take(name_b, b_shape(linear, options.r), device);
    lora->scale = options.scale();
    lora->dropout = options.dropout;
    adapters[path] = std::move(lora);
  });
  tensors.finish();
  if (adapters.empty())
    throw DataError((folder / "adapter_model.safetensors").string(), "holds no LoRA tensors");
  // Only now: a refused adapter leaves the model as it was.
  std::vector<std::string> adapted;
  each_linear(module, [&](const std::string& path, Linear& linear) {
    const auto it = adapters.find(path);
    if (it == adapters.end()) return;
    it->second->a = it->second->a.view({options.r, linear.in_features()});
    it->second->b = it->second->b.view({linear.out_features(), options.r});
    linear.lora = std::move(it->second);
    adapted.push_back(path);
  });
  if (options.targets.empty()) options.targets = adapted;
  return options;
}

}  // namespace parapet::nn
