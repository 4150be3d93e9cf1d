// The one place that knows every backend of the encoder seam.
#pragma once
#include <filesystem>
#include <memory>

#include "parapet/engine/encoder/encoder.h"

namespace parapet {

// Loads a Hugging Face CLIP folder.
std::unique_ptr<Encoder> open_encoder(const std::filesystem::path& model,
                                      const EncoderOptions& options, const Context& context);

}  // namespace parapet
