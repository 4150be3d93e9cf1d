// The `added_tokens` section: tokens found in text before the model sees it.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "parapet/text/normalizer.h"

namespace parapet::text {

struct AddedToken {
  int32_t id;
  std::string content;
  // What is looked for, and what the id decodes to: the content, normalised when `normalized`.
  std::string pattern;
  bool special = false;
  bool single_word = false;  // only between non-word characters
  bool lstrip = false;       // swallows white space before it
  bool rstrip = false;       // swallows white space after it
  bool normalized = false;   // looked for in normalised text, else in the raw text
};

// Finds a set of tokens: leftmost, then longest.
class TokenMatcher {
 public:
  void add(const AddedToken& token);
  void finish();
  bool empty() const { return entries_.empty(); }
  // Calls `gap` for the stretches between tokens (never empty) and `found` for each token, in
  // order.
  void scan(std::string_view text, const std::function<void(std::string_view)>& gap,
            const std::function<void(int32_t)>& found) const;
  // Quick check, so that a text without any token costs one pass.
  bool may_match(std::string_view text) const;

 private:
  const AddedToken* match_at(std::string_view rest) const;
  std::vector<AddedToken> entries_;    // by first byte, then longest first
  std::array<uint32_t, 257> first_{};  // entries of first byte b: [first_[b], first_[b + 1])
};

class AddedTokens {
 public:
  // `model_id` gives the model's id of a token or -1. DataError names the bad entry.
  AddedTokens(const nlohmann::json& section, const Normalizer* normalizer,
              const std::function<int32_t(std::string_view)>& model_id, std::string_view source);

  const TokenMatcher& raw() const { return raw_; }
  const TokenMatcher& normalized() const { return normalized_; }
  const std::vector<AddedToken>& tokens() const { return tokens_; }
  // Null when no added token has the id.
  const AddedToken* find(int32_t id) const;
  int32_t id(std::string_view content) const;  // -1 when absent

 private:
  std::vector<AddedToken> tokens_;
  std::unordered_map<int32_t, size_t> by_id_;
  std::unordered_map<std::string, size_t> by_content_;
  TokenMatcher raw_;
  TokenMatcher normalized_;
};

}  // namespace parapet::text
