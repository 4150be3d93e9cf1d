// LoRA (arXiv 2106.09685) on disk as PEFT writes it: y = x W^T + scale * drop(x) A^T B^T.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "parapet/core/options.h"
#include "parapet/nn/linear.h"
#include "parapet/nn/module.h"

namespace parapet::nn {

struct LoraOptions {
  int64_t r = 16;        // rank
  double alpha = 16;     // scale = alpha / r, or alpha / sqrt(r) with rslora
  double dropout = 0.0;  // on the adapter's input, training only
  bool rslora = false;
  // Module names, matched as PEFT does: equal to the full path, or its last part(s). Empty = those
  // of the model's family (with_targets in models/model.h).
  std::vector<std::string> targets;
  void visit(OptionList& list);
  void validate(Problems& problems) const;
  double scale() const;
};

// Adds adapters to every matching Linear and returns their paths: A uniform as nn.Linear's default
// (Kaiming, a = sqrt 5), B zero. UsageError when a target matches nothing.
std::vector<std::string> add_lora(Module& module, const LoraOptions& options, uint64_t seed);

// The trainable tensors themselves under PEFT's names without the "base_model.model." prefix
// ("...q_proj.lora_A.weight"), A [r, in] and B [out, r] for Conv2d targets too.
NamedTensors lora_parameters(const Module& module);

// adapter_config.json and adapter_model.safetensors, Conv2d targets as PEFT has them: A [r, in, k,
// k], B [out, r, 1, 1]. `base` is recorded.
struct LoraBase {
  std::string model{};      // base_model_name_or_path; may be empty
  std::string task_type{};  // PEFT's, e.g. "CAUSAL_LM"; empty = null
};
void save_lora(const Module& module, const LoraOptions& options,
               const std::filesystem::path& folder, const LoraBase& base);
// Adds adapters from a PEFT folder, not requiring gradients. Names may have more or fewer leading
// parts than the model's ("text_model." of transformers 4) where that names one layer. DataError:
// not LoRA, fields that change the result and are not supported (use_dora, modules_to_save, rank
// patterns), and a list of all tensors that are missing, mis-shaped or left over.
LoraOptions load_lora(Module& module, const std::filesystem::path& folder);

// W + scale B A of a layer with an adapter, in W's type and checkpoint shape.
at::Tensor merged_weight(const Linear& linear);
// W <- W + scale B A, adapters dropped.
void merge_lora(Module& module);

}  // namespace parapet::nn
