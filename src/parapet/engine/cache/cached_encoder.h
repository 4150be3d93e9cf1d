// Embeddings of whole data sets kept on disk by content: what a frozen model says about an input is
// computed once, by whichever command asks first.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "parapet/engine/cache/embedding_store.h"
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

// The store of a folder that commands are given, made where there is none.
std::unique_ptr<EmbeddingStore> open_embedding_store(const std::filesystem::path& folder,
                                                     const Context& context);

// Embeddings of images (by their bytes) and texts come from the store in `folder`, under `key`;
// `encoder` computes what is missing there. An empty `folder` returns `encoder` itself. DataError:
// the store cannot be used.
std::unique_ptr<Encoder> cached_encoder(std::unique_ptr<Encoder> encoder, std::string key,
                                        const std::filesystem::path& folder);

}  // namespace parapet
