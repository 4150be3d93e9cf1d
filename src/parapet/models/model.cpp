#include "parapet/models/model.h"

#include <ATen/ATen.h>

#include <map>
#include <nlohmann/json.hpp>

#include "parapet/core/json.h"
#include "parapet/models/model_folder.h"
#include "parapet/nn/checkpoint.h"

namespace parapet {

void Model::save(const std::filesystem::path& folder, const std::filesystem::path& assets,
                 const SaveModelOptions& options) const {
  std::filesystem::create_directories(folder);
  nn::save_checkpoint(folder, *this, tensor_map(), options.max_shard_bytes);
  nlohmann::json config = config_json();
  config["dtype"] = weight_type_name(*this);
  save_json(folder / "config.json", config);
  if (!assets.empty()) copy_model_assets(assets, folder);
}

std::string weight_type_name(const nn::Module& module) {
  std::map<at::ScalarType, int64_t> elements;
  nn::each_parameter(module, [&](const std::string&, const nn::Parameter& parameter) {
    elements[parameter.value.scalar_type()] += parameter.value.numel();
  });
  at::ScalarType most = at::kFloat;
  for (const auto& [type, count] : elements)
    if (count > elements[most]) most = type;
  switch (most) {
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kDouble:
      return "float64";
    default:
      return "float32";
  }
}

void save_adapter(const Model& model, const nn::LoraOptions& options,
                  const std::filesystem::path& folder, const std::string& base) {
  nn::save_lora(model, options, folder, {base, std::string(model.peft_task())});
}

nn::LoraOptions with_targets(nn::LoraOptions options, const Model& model) {
  if (options.targets.empty()) options.targets = model.lora_targets();
  return options;
}

}  // namespace parapet
