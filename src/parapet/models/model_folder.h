// Which files of a Hugging Face folder are the model, and which only lie beside it.
#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace parapet {

// Tokenizer and image settings: what a model needs besides configuration and weights.
std::span<const std::string_view> model_asset_names();

// Copies those that `from` has into `to`; returns what was copied.
std::vector<std::string> copy_model_assets(const std::filesystem::path& from,
                                           const std::filesystem::path& to);

// Weights and their index: *.safetensors, *.safetensors.index.json. Not ranges of `parapet
// quantize` nor guard heads: they were made for the weights.
bool is_weights_file(std::string_view name);

// Whether embeddings depend on the file: configuration, weights, assets; of an adapter folder its
// configuration and weights. Not reports, ranges or heads.
bool defines_model(std::string_view name);

}  // namespace parapet
