// The torch backend of the encoder seam.
#pragma once
#include <filesystem>
#include <memory>

#include "parapet/engine/encoder/clip_assets.h"
#include "parapet/engine/encoder/encoder.h"
#include "parapet/models/clip/clip.h"

namespace parapet {

// Loads a Hugging Face CLIP folder on any device. Precision: fp32, bf16 or auto; UsageError: int8.
std::unique_ptr<Encoder> open_torch_encoder(const std::filesystem::path& model,
                                            const EncoderOptions& options, const Context& context);
// Wraps a model that is already in memory (used by training to validate); the model must outlive
// the encoder. Adapters on the model act unless a LoraOff scope is alive.
std::unique_ptr<Encoder> wrap_encoder(ClipModel& model, const ClipAssets& assets,
                                      const EncoderOptions& options);

}  // namespace parapet
