// LoRA (arXiv 2106.09685) on disk as PEFT writes it: y = x W^T + scale * drop(x) A^T B^T.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "parapet/core/options.h"
#include "parapet/nn/linear.h"

namespace parapet::nn {

struct LoraOptions {
  int64_t r = 16;        // rank
  double alpha = 16;     // scale = alpha / r, or alpha / sqrt(r) with rslora
  double dropout = 0.0;  // on the adapter's input, training only
  bool rslora = false;
  // Module names, matched as PEFT does: equal to the full path, or its last part(s).
  std::vector<std::string> targets = {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"};
  void visit(OptionList& list);
  void validate(Problems& problems) const;
  double scale() const;
};

// Visits every Linear with its module path ("text_model.encoder.layers.0.mlp.fc1").
using LinearVisitor = std::function<void(const std::string& path, Linear& linear)>;
using LinearWalk = std::function<void(const LinearVisitor&)>;

// Adds adapters to every matching Linear and returns their paths: A uniform as nn.Linear's default
// (Kaiming, a = sqrt 5), B zero. UsageError when a target matches nothing.
std::vector<std::string> add_lora(const LinearWalk& walk, const LoraOptions& options,
                                  uint64_t seed);

// The trainable tensors themselves under PEFT's names without the "base_model.model." prefix
// ("...q_proj.lora_A.weight"), A [r, in] and B [out, r] for Conv2d targets too.
NamedTensors lora_parameters(const LinearWalk& walk);

// adapter_config.json and adapter_model.safetensors, Conv2d targets as PEFT has them: A [r, in, k,
// k], B [out, r, 1, 1]. `base_model` is recorded, may be empty.
void save_lora(const LinearWalk& walk, const LoraOptions& options,
               const std::filesystem::path& folder, const std::string& base_model);
// Adds adapters from a PEFT folder, not requiring gradients. Names may have more or fewer leading
// parts than the model's ("text_model." of transformers 4) where that names one layer. DataError:
// not LoRA, fields that change the result and are not supported (use_dora, modules_to_save, rank
// patterns), and a list of all tensors that are missing, mis-shaped or left over.
LoraOptions load_lora(const LinearWalk& walk, const std::filesystem::path& folder);

// W <- W + scale B A, adapters dropped.
void merge_lora(const LinearWalk& walk);
// The same, with what is needed to undo it: base weights stay alive meanwhile.
struct MergedLora {
  std::string path;
  at::Tensor base;
  std::unique_ptr<LoraAdapter> adapter;
};
std::vector<MergedLora> merge_lora_reversibly(const LinearWalk& walk);
// Puts base weights (bit-identical) and adapters back.
void unmerge_lora(const LinearWalk& walk, std::vector<MergedLora> merged);
// Adapters dropped, base weights untouched.
void remove_lora(const LinearWalk& walk);

// While alive, adapters on this thread are skipped: the model is the original one. (`off` false: they
// are not skipped, whatever was set outside.)
class LoraOff {
 public:
  explicit LoraOff(bool off = true);
  ~LoraOff();
  LoraOff(const LoraOff&) = delete;
  LoraOff& operator=(const LoraOff&) = delete;
  static bool active();

 private:
  bool before_;
};

}  // namespace parapet::nn
