#include "parapet/models/model_folder.h"

#include <algorithm>
#include <array>

#include "parapet/core/files.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 13> kAssets = {"tokenizer.json",
                                                      "tokenizer.model",
                                                      "vocab.json",
                                                      "merges.txt",
                                                      "tokenizer_config.json",
                                                      "special_tokens_map.json",
                                                      "added_tokens.json",
                                                      "chat_template.jinja",
                                                      "chat_template.json",
                                                      "preprocessor_config.json",
                                                      "processor_config.json",
                                                      "video_preprocessor_config.json",
                                                      "generation_config.json"};
constexpr std::array<std::string_view, 2> kConfigs = {"config.json", "adapter_config.json"};

}  // namespace

std::span<const std::string_view> model_asset_names() { return kAssets; }

std::vector<std::string> copy_model_assets(const fs::path& from, const fs::path& to) {
  std::vector<std::string> copied;
  for (const std::string_view name : kAssets) {
    if (!fs::exists(from / name) || fs::equivalent(from, to)) continue;
    copy_file_atomic(from / name, to / name);
    copied.emplace_back(name);
  }
  return copied;
}

bool is_weights_file(std::string_view name) {
  if (name == "quantization.safetensors" || name == "guard_heads.safetensors") return false;
  return name.ends_with(".safetensors") || name.ends_with(".safetensors.index.json");
}

bool defines_model(std::string_view name) {
  return is_weights_file(name) || std::ranges::count(kAssets, name) > 0 ||
         std::ranges::count(kConfigs, name) > 0;
}

}  // namespace parapet
