// Embeddings kept on disk by content: what a frozen model says about the same inputs is computed
// once, by whichever command asks first. One tensor file per call over a whole data set: commands
// ask for the same 100,000 rows again, in order. A server asks for single items that come back one
// by one; that is engine/embedding_cache.h.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "parapet/engine/encoder/encoder.h"

namespace parapet {

// SHA-256 over configuration, tokenizer, preprocessing and weights of a model or adapter folder.
// What lies beside them does not count: a folder that `parapet quantize` wrote has the key of the
// model it was made from, so guard heads trained on that fit both.
std::string model_content_key(const std::filesystem::path& folder);

// Identifies what `open_encoder(model, options)` computes: the model's (and adapter's) content, the
// backend, the types of weights and arithmetic, quantization ranges where int8 may be used, the
// decoding mode. Batch sizes are not part of it.
std::string encoder_key(const std::filesystem::path& model, const EncoderOptions& options);
// The same where the model's content key is known: hashing weights takes seconds.
std::string encoder_key(const std::filesystem::path& model, const std::string& content_key,
                        const EncoderOptions& options);

// Each call of `encoder` with the same inputs (image bytes, texts, in order) and the same `key` is
// read from a file in `folder`, else computed and written there (atomically). An empty `folder`
// returns `encoder` itself. DataError: a cached file does not fit.
std::unique_ptr<Encoder> cached_encoder(std::unique_ptr<Encoder> encoder, std::string key,
                                        const std::filesystem::path& folder);

}  // namespace parapet
