// Everything a CLIP folder holds besides weights.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "parapet/formats/image_processor.h"
#include "parapet/models/clip/clip_config.h"
#include "parapet/text/tokenizer.h"

namespace parapet {

// The configuration of a CLIP folder: what every backend opens first. DataError names a folder of
// another family, or the model_type that no model here has.
ClipConfig load_clip_config(const std::filesystem::path& folder);

struct ClipAssets {
  std::shared_ptr<const Tokenizer> tokenizer;  // null when the model has no text tower
  std::optional<ImageProcessor> processor;     // empty when it has no vision tower
  std::string files_hash;                      // SHA-256 over tokenizer and image settings
};
// DataError: image settings that make other pixels than the model takes.
ClipAssets load_clip_assets(const std::filesystem::path& folder, const ClipConfig& config);

}  // namespace parapet
