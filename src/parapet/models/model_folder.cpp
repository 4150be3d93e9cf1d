#include "parapet/models/model_folder.h"

#include <algorithm>
#include <array>

namespace parapet {
namespace {

constexpr std::array<std::string_view, 8> kAssets = {"tokenizer.json",
                                                     "vocab.json",
                                                     "merges.txt",
                                                     "tokenizer_config.json",
                                                     "special_tokens_map.json",
                                                     "added_tokens.json",
                                                     "preprocessor_config.json",
                                                     "processor_config.json"};
constexpr std::array<std::string_view, 2> kConfigs = {"config.json", "adapter_config.json"};

}  // namespace

std::span<const std::string_view> model_asset_names() { return kAssets; }

bool is_weights_file(std::string_view name) {
  if (name == "quantization.safetensors" || name == "guard_heads.safetensors") return false;
  return name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
}

bool defines_model(std::string_view name) {
  return is_weights_file(name) || std::ranges::count(kAssets, name) > 0 ||
         std::ranges::count(kConfigs, name) > 0;
}

}  // namespace parapet
