// open_clip's configuration file (open_clip_config.json) from and to ours.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <filesystem>

#include "parapet/models/clip/clip_config.h"

namespace parapet {

// {"model_cfg", "preprocess_cfg"}; mean and std from preprocessor_config.json in `assets` where it
// exists, else OpenAI's. UsageError when open_clip cannot express the model (two activations).
nlohmann::json open_clip_config(const ClipConfig& config, const std::filesystem::path& assets);

// The reverse; DataError names file and field, and settings that CLIPModel does not have.
ClipConfig read_open_clip_config(const std::filesystem::path& file);

// preprocessor_config.json for a model whose open_clip_config.json is `file`.
nlohmann::json open_clip_preprocessor(const std::filesystem::path& file);

}  // namespace parapet
