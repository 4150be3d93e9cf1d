// CLIP's published vocabulary (bpe_simple_vocab_16e6.txt.gz, MIT, from the open_clip_torch wheel):
// 49,408 entries = 256 bytes, 256 bytes that end a word, 48,894 merges, two special tokens.
#pragma once
#include <filesystem>
#include <memory>

#include "parapet/text/tokenizer.h"

namespace parapet {

// The tokenizer, straight from the gz file. DataError when the file is missing, not gzip, or short.
std::shared_ptr<const Tokenizer> load_clip_tokenizer(const std::filesystem::path& bpe_gz);

// Writes tokenizer.json, vocab.json, merges.txt, tokenizer_config.json and special_tokens_map.json
// into `model_dir` (created when missing), for Tokenizer::load and for `transformers`.
// `model_max_length` is the text tower's number of positions.
void write_clip_tokenizer(const std::filesystem::path& bpe_gz,
                          const std::filesystem::path& model_dir, int64_t model_max_length = 77);

}  // namespace parapet
