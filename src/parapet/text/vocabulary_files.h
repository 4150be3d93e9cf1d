// `vocab.json` + `merges.txt` as an equivalent tokenizer.json, the way `transformers` converts
// them.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace parapet::text {

// Whole tokenizer.json for CLIP. `vocab` maps token to id and must hold both special tokens.
nlohmann::json clip_tokenizer_json(const nlohmann::json& vocab, const nlohmann::json& merges,
                                   std::string_view source);
// Whole tokenizer.json for GPT-2's byte-level BPE.
nlohmann::json gpt2_tokenizer_json(const nlohmann::json& vocab, const nlohmann::json& merges);
// Reads both files; CLIP or GPT-2 by `tokenizer_class` in `config` (may be null), else by the shape
// of the vocabulary. DataError for any other class.
nlohmann::json tokenizer_json_from_files(const std::filesystem::path& vocab_file,
                                         const std::filesystem::path& merges_file,
                                         const nlohmann::json& config);

}  // namespace parapet::text
