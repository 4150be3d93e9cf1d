// Embeddings kept on disk by content: what a frozen model says about the same inputs is computed
// once, by whichever command asks first.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "parapet/engine/encoder.h"

namespace parapet {

// SHA-256 over config, tokenizer, preprocessing and weights of a folder.
std::string model_content_key(const std::filesystem::path& folder);

// Identifies what `open_encoder(model, options)` computes: the model's (and adapter's) content, the
// backend, the types of weights and arithmetic, the decoding mode. Batch sizes are not part of it.
std::string encoder_key(const std::filesystem::path& model, const EncoderOptions& options);

// Each call of `encoder` with the same inputs (image bytes, texts, in order) and the same `key` is
// read from a file in `folder`, else computed and written there (atomically). An empty `folder`
// returns `encoder` itself. DataError: a cached file does not fit.
std::unique_ptr<Encoder> cached_encoder(std::unique_ptr<Encoder> encoder, std::string key,
                                        const std::filesystem::path& folder);

}  // namespace parapet
