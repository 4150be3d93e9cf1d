// The `model` section of type BPE: vocabulary and merges, and the merging of one word.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "parapet/text/merge_table.h"

namespace parapet::text {

class BpeModel {
 public:
  // DataError names the field, merge or token at fault: another model type, dropout, merges that
  // name unknown tokens, two tokens with one id.
  BpeModel(const nlohmann::json& section, std::string_view source);

  // Appends the ids of one word. With `byte_level`, `word` holds raw bytes and is read through the
  // byte-level alphabet.
  void encode(std::string_view word, bool byte_level, std::vector<int32_t>& ids) const;

  int32_t id(std::string_view token) const;  // -1 when absent
  // Null when absent.
  const std::string* token(int32_t id) const;
  int32_t max_id() const { return static_cast<int32_t>(tokens_.size()) - 1; }
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  const std::string& end_of_word_suffix() const { return suffix_; }

 private:
  void load_vocabulary(const nlohmann::json& section, std::string_view source);
  void load_merges(const nlohmann::json& section, std::string_view source);
  void load_byte_symbols();
  bool byte_symbols(std::string_view word, std::vector<int32_t>& symbols) const;
  void character_symbols(std::string_view word, std::vector<int32_t>& symbols) const;
  bool byte_fallback(std::string_view symbol, std::vector<int32_t>& symbols) const;

  std::vector<std::string> tokens_;  // by id; absent ids are empty and not in ids_
  std::unordered_map<std::string_view, int32_t> ids_;
  MergeTable merges_;
  std::string prefix_;  // continuing_subword_prefix
  std::string suffix_;  // end_of_word_suffix
  int32_t unk_ = -1;
  bool fuse_unk_ = false;
  bool byte_fallback_ = false;
  bool ignore_merges_ = false;
  // Ids of single bytes by position in the word: [not first][last][byte], -1 when absent.
  std::array<std::array<std::array<int32_t, 256>, 2>, 2> byte_ids_;
  std::array<int32_t, 256> fallback_ids_;  // "<0xAB>"
};

}  // namespace parapet::text
