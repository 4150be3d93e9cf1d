// What every model that can be trained has in common. How it computes differs from family to family
// and is no part of this: methods that need it take the family's own class.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/formats/safetensors.h"
#include "parapet/nn/lora.h"
#include "parapet/nn/module_state.h"
#include "parapet/nn/tensor_map.h"

namespace parapet {

// How a folder's weights are taken in.
struct LoadModelOptions {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;  // what weights are kept in; Undefined = each as stored
  // Weights may stay in the mapped file unless it says otherwise.
  TensorStorage storage = TensorStorage::kMapped;
};

struct SaveModelOptions {
  // Weights beyond this are written as shards with an index.
  int64_t max_shard_bytes = int64_t{5} * 1000 * 1000 * 1000;
};

class Model : public nn::Module {
 public:
  // The family's name in the registry, e.g. "clip".
  virtual std::string_view family() const = 0;
  // config.json as `transformers` writes it; save() adds "dtype".
  virtual nlohmann::json config_json() const = 0;
  // How files differ from the walk, ties included; the same table loads and saves.
  virtual nn::TensorMap tensor_map() const { return {}; }
  // Module names that LoRA adapts unless others are given, as in PEFT's target_modules.
  virtual std::vector<std::string> lora_targets() const = 0;
  // PEFT's task_type ("CAUSAL_LM"); empty = none.
  virtual std::string_view peft_task() const { return {}; }

  // The type activations are computed in; weights of another type are converted per call.
  void set_compute(at::ScalarType type) { compute_ = type; }
  at::ScalarType compute() const { return compute_; }
  // Dropout on adapters.
  void set_training(bool training) { nn::set_training(*this, training); }
  // Gradient checkpointing.
  void set_recompute(bool on) { nn::set_recompute(*this, on); }
  at::Device device() const { return nn::device_of(*this); }

  // A Hugging Face folder: config.json and model.safetensors or shards, under the names that files
  // of this family have. Adapters are merged into what is written; the model stays as it is.
  // Tokenizer and preprocessor files are copied from `assets` when given.
  void save(const std::filesystem::path& folder, const std::filesystem::path& assets = {},
            const SaveModelOptions& options = {}) const;

 private:
  at::ScalarType compute_ = at::kFloat;
};

// One line of the registry: what a family answers to and how its folders are loaded.
struct ModelFamily {
  std::string name;                        // "clip"
  std::vector<std::string> model_types;    // values of "model_type" in config.json
  std::vector<std::string> architectures;  // of "architectures", for files without a model_type
  std::unique_ptr<Model> (*load)(const std::filesystem::path& folder,
                                 const LoadModelOptions& options) = nullptr;
};

// The type of most weights as `dtype` of config.json says it: "float32", "bfloat16", "float16",
// "float64".
std::string weight_type_name(const nn::Module& module);

// nn::save_lora with what PEFT is told about the family; `base` is the folder of the base model.
void save_adapter(const Model& model, const nn::LoraOptions& options,
                  const std::filesystem::path& folder, const std::string& base);

// `options` with the family's targets where it names none.
nn::LoraOptions with_targets(nn::LoraOptions options, const Model& model);

}  // namespace parapet
