// What a stage looks for in text: a regex, a fixed string, or a class of characters; and the split
// of a text into matches and the gaps between them.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace parapet::text {

class Finder {
 public:
  virtual ~Finder() = default;
  // First match at or after `from`; may be empty.
  virtual bool find(std::string_view text, size_t from, size_t& start, size_t& end) const = 0;
};

struct Span {
  size_t start;
  size_t end;
  bool match;
};

// Matches and gaps in order; they cover the text. An empty match right after a match is skipped;
// an empty text has no matches.
void find_spans(const Finder& finder, std::string_view text, std::vector<Span>& spans);

std::unique_ptr<Finder> regex_finder(std::string_view pattern, std::string_view source);
std::unique_ptr<Finder> literal_finder(std::string literal);
std::unique_ptr<Finder> character_finder(bool (*predicate)(char32_t));
// Runs of word characters, and runs of what is neither word nor white space.
std::unique_ptr<Finder> word_finder();
// {"String": "..."} or {"Regex": "..."}.
std::unique_ptr<Finder> finder_from_json(const nlohmann::json& pattern, std::string_view source);

enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };
SplitBehavior split_behavior(std::string_view name, std::string_view source);
// Turns spans into the pieces to keep, in place; afterwards `match` is meaningless.
void apply_behavior(SplitBehavior behavior, std::vector<Span>& spans);

}  // namespace parapet::text
