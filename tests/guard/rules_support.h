// Lists and hits in a line each, for tests of rules.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "parapet/guard/rules.h"

namespace parapet::guard {

inline WordListOptions list_of(std::vector<std::string> entries) {
  WordListOptions list;
  list.name = "list";
  list.category = "profanity";
  list.entries = std::move(entries);
  return list;
}

inline std::vector<TextHit> scan(const std::vector<WordListOptions>& lists, std::string_view text,
                                 std::vector<int32_t>* failed = nullptr) {
  std::vector<int32_t> ignored;
  return RuleSet(lists).scan(text, Side::kInput, failed != nullptr ? *failed : ignored);
}

// The bytes of the only hit; "none" or "several" otherwise.
inline std::string hit(const std::vector<WordListOptions>& lists, std::string_view text) {
  const auto hits = scan(lists, text);
  if (hits.size() != 1) return hits.empty() ? "none" : "several";
  return std::string(text.substr(hits[0].begin, hits[0].end - hits[0].begin));
}

}  // namespace parapet::guard
