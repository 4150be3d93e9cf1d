// The torch backend of the encoder seam.
#pragma once
#include "parapet/engine/encoder/encoder.h"
#include "parapet/formats/image_processor.h"
#include "parapet/models/clip/clip.h"
#include "parapet/text/tokenizer.h"

namespace parapet {

// Everything a CLIP folder holds besides weights.
struct ClipAssets {
  std::shared_ptr<const Tokenizer> tokenizer;  // null when the model has no text tower
  std::optional<ImageProcessor> processor;     // empty when it has no vision tower
  std::string files_hash;                      // SHA-256 over tokenizer and image settings
};
ClipAssets load_clip_assets(const std::filesystem::path& folder, const ClipConfig& config);

// Wraps a model that is already in memory (used by training to validate); the model must outlive
// the encoder. Adapters on the model act unless a LoraOff scope is alive.
std::unique_ptr<Encoder> wrap_encoder(ClipModel& model, const ClipAssets& assets,
                                      const EncoderOptions& options);

}  // namespace parapet
