// Sections of a tokenizer.json, for vocabularies that come in other files.
#pragma once
#include <nlohmann/json.hpp>

#include <string>

namespace parapet::text {

// An entry of "added_tokens", looked for in the raw text.
nlohmann::json added_token_json(const std::string& content, const nlohmann::json& id, bool special);
inline nlohmann::json special_token_json(const std::string& content, const nlohmann::json& id) {
  return added_token_json(content, id, true);
}
// ByteLevel, as pre-tokenizer, post-processor or decoder.
nlohmann::json byte_level_json(bool add_prefix_space, bool use_regex = true);
// A "model" of type BPE; `unk` may be null.
nlohmann::json bpe_model_json(nlohmann::json vocab, nlohmann::json merges,
                              nlohmann::json unk = nullptr, const std::string& suffix = "");
// The whole.
nlohmann::json tokenizer_json(nlohmann::json added, nlohmann::json normalizer,
                              nlohmann::json pre_tokenizer, nlohmann::json post_processor,
                              nlohmann::json decoder, nlohmann::json model);

}  // namespace parapet::text
