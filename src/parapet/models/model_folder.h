// Which files of a Hugging Face folder are the model, and which only lie beside it.
#pragma once
#include <span>
#include <string_view>

namespace parapet {

// Tokenizer and image settings: what a model needs besides configuration and weights.
std::span<const std::string_view> model_asset_names();

// Weights and their index: *.safetensors, *.safetensors.index.json. Not ranges of `parapet
// quantize` nor guard heads: they were made for the weights.
bool is_weights_file(std::string_view name);

// Whether embeddings depend on the file: configuration, weights, assets; of an adapter folder its
// configuration and weights. Not reports, ranges or heads.
bool defines_model(std::string_view name);

}  // namespace parapet
