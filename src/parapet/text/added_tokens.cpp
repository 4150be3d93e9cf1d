#include "parapet/text/added_tokens.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/utf8.h"
#include "parapet/text/unicode.h"

namespace parapet::text {
namespace {

unsigned char first_byte(std::string_view s) { return static_cast<unsigned char>(s[0]); }

bool ends_in_word(std::string_view s) {
  size_t i = s.size();
  return i > 0 && is_word_character(previous_code_point(s, i));
}

bool starts_with_word(std::string_view s) {
  size_t i = 0;
  return !s.empty() && is_word_character(next_code_point(s, i));
}

// Moves `start` left over white space, not past `limit`.
size_t strip_left(std::string_view s, size_t start, size_t limit) {
  for (size_t i = start; i > limit;) {
    if (!is_white_space(previous_code_point(s, i))) break;
    start = i;
  }
  return std::max(start, limit);
}

size_t strip_right(std::string_view s, size_t end) {
  for (size_t i = end; i < s.size();) {
    if (!is_white_space(next_code_point(s, i))) break;
    end = i;
  }
  return end;
}

AddedToken parse_token(const nlohmann::json& item, const std::string& place) {
  AddedToken token;
  const auto id = json_field<int64_t>(item, "id", place);
  if (id < 0 || id > INT32_MAX) throw DataError(place, "field 'id' is out of range");
  token.id = static_cast<int32_t>(id);
  token.content = json_field<std::string>(item, "content", place);
  token.special = json_field_or<bool>(item, "special", false, place);
  token.single_word = json_field_or<bool>(item, "single_word", false, place);
  token.lstrip = json_field_or<bool>(item, "lstrip", false, place);
  token.rstrip = json_field_or<bool>(item, "rstrip", false, place);
  token.normalized = json_field_or<bool>(item, "normalized", !token.special, place);
  return token;
}

}  // namespace

void TokenMatcher::add(const AddedToken& token) {
  if (!token.pattern.empty()) entries_.push_back(token);
}

void TokenMatcher::finish() {
  std::stable_sort(entries_.begin(), entries_.end(), [](const AddedToken& a, const AddedToken& b) {
    if (first_byte(a.pattern) != first_byte(b.pattern))
      return first_byte(a.pattern) < first_byte(b.pattern);
    return a.pattern.size() > b.pattern.size();
  });
  first_.fill(0);
  for (const AddedToken& entry : entries_) ++first_[first_byte(entry.pattern) + 1u];
  for (size_t b = 1; b < first_.size(); ++b) first_[b] += first_[b - 1];
}

const AddedToken* TokenMatcher::match_at(std::string_view rest) const {
  const unsigned char b = first_byte(rest);
  for (uint32_t i = first_[b]; i < first_[b + 1u]; ++i)
    if (rest.starts_with(entries_[i].pattern)) return &entries_[i];
  return nullptr;
}

bool TokenMatcher::may_match(std::string_view text) const {
  if (entries_.empty()) return false;
  const char lead = entries_.front().pattern[0];
  if (lead == entries_.back().pattern[0]) return text.find(lead) != std::string_view::npos;
  return std::any_of(text.begin(), text.end(), [&](char c) {
    const auto b = static_cast<unsigned char>(c);
    return first_[b] != first_[b + 1u];
  });
}

void TokenMatcher::scan(std::string_view text, const std::function<void(std::string_view)>& gap,
                        const std::function<void(int32_t)>& found) const {
  size_t covered = 0;
  for (size_t i = 0; i < text.size();) {
    const AddedToken* token = match_at(text.substr(i));
    if (token == nullptr) {
      ++i;
      continue;
    }
    size_t start = i, end = i + token->pattern.size();
    i = end;
    if (token->single_word &&
        (ends_in_word(text.substr(0, start)) || starts_with_word(text.substr(end))))
      continue;
    if (token->lstrip) start = strip_left(text, start, std::min(covered, start));
    if (token->rstrip) end = strip_right(text, end);
    if (covered < start) gap(text.substr(covered, start - covered));
    found(token->id);
    covered = end;
  }
  if (covered < text.size()) gap(text.substr(covered));
}

AddedTokens::AddedTokens(const nlohmann::json& section, const Normalizer* normalizer,
                         const std::function<int32_t(std::string_view)>& model_id,
                         std::string_view source) {
  if (!section.is_null() && !section.is_array())
    throw DataError(source, "field 'added_tokens' must be a list");
  for (size_t i = 0; i < section.size(); ++i) {
    const std::string place = std::string(source) + ": added_tokens[" + std::to_string(i) + "]";
    AddedToken token = parse_token(section[i], place);
    if (token.content.empty() || by_content_.contains(token.content)) continue;
    if (const int32_t known = model_id(token.content); known >= 0 && known != token.id)
      throw DataError(place, "token '" + token.content + "' has id " + std::to_string(token.id) +
                                 " here and " + std::to_string(known) + " in the vocabulary");
    if (by_id_.contains(token.id))
      throw DataError(place, "id " + std::to_string(token.id) + " is used twice");
    token.pattern = token.content;
    std::string scratch;
    if (token.normalized && normalizer != nullptr) normalizer->apply(token.pattern, scratch);
    (token.normalized ? normalized_ : raw_).add(token);
    by_id_.emplace(token.id, tokens_.size());
    by_content_.emplace(token.content, tokens_.size());
    tokens_.push_back(std::move(token));
  }
  raw_.finish();
  normalized_.finish();
}

const AddedToken* AddedTokens::find(int32_t id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

int32_t AddedTokens::id(std::string_view content) const {
  const auto it = by_content_.find(std::string(content));
  return it == by_content_.end() ? -1 : tokens_[it->second].id;
}

}  // namespace parapet::text
