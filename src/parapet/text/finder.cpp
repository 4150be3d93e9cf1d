#include "parapet/text/finder.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/utf8.h"
#include "parapet/text/regex.h"
#include "parapet/text/unicode.h"

namespace parapet::text {
namespace {

class RegexFinder : public Finder {
 public:
  RegexFinder(std::string_view pattern, std::string_view source) : regex_(pattern, source) {}
  bool find(std::string_view text, size_t from, size_t& start, size_t& end) const override {
    return regex_.search(text, from, start, end);
  }

 private:
  Regex regex_;
};

class LiteralFinder : public Finder {
 public:
  explicit LiteralFinder(std::string literal) : literal_(std::move(literal)) {}
  bool find(std::string_view text, size_t from, size_t& start, size_t& end) const override {
    if (literal_.empty()) return false;
    start = text.find(literal_, from);
    end = start + literal_.size();
    return start != std::string_view::npos;
  }

 private:
  std::string literal_;
};

class CharacterFinder : public Finder {
 public:
  explicit CharacterFinder(bool (*predicate)(char32_t)) : predicate_(predicate) {}
  bool find(std::string_view text, size_t from, size_t& start, size_t& end) const override {
    for (size_t i = from; i < text.size();) {
      start = i;
      if (predicate_(next_code_point(text, i))) {
        end = i;
        return true;
      }
    }
    return false;
  }

 private:
  bool (*predicate_)(char32_t);
};

// `\s+`, which CLIP uses to collapse white space, without the regex engine.
class SpaceRunFinder : public Finder {
 public:
  bool find(std::string_view text, size_t from, size_t& start, size_t& end) const override {
    for (size_t i = from; i < text.size();) {
      start = i;
      if (!is_white_space(next_code_point(text, i))) continue;
      for (end = i; i < text.size() && is_white_space(next_code_point(text, i));) end = i;
      return true;
    }
    return false;
  }
};

class WordFinder : public Finder {
 public:
  bool find(std::string_view text, size_t from, size_t& start, size_t& end) const override {
    size_t i = from;
    while (i < text.size()) {
      start = i;
      const char32_t first = next_code_point(text, i);
      if (is_white_space(first)) continue;
      for (end = i; i < text.size(); end = i) {
        const char32_t cp = next_code_point(text, i);
        if (is_white_space(cp) || is_word_character(cp) != is_word_character(first)) break;
      }
      return true;
    }
    return false;
  }
};

// Joins each match to the span before it; the second of two matches in a row stands alone.
void merge_with_previous(std::vector<Span>& spans) {
  size_t kept = 0;
  bool previous_match = false;
  for (const Span span : spans) {
    if (span.match && !previous_match && kept > 0)
      spans[kept - 1].end = span.end;
    else
      spans[kept++] = span;
    previous_match = span.match;
  }
  spans.resize(kept);
}

void merge_with_next(std::vector<Span>& spans) {
  size_t first = spans.size();  // kept spans are [first, size)
  bool next_match = false;
  for (size_t i = spans.size(); i-- > 0;) {
    const Span span = spans[i];
    if (span.match && !next_match && first < spans.size())
      spans[first].start = span.start;
    else
      spans[--first] = span;
    next_match = span.match;
  }
  spans.erase(spans.begin(), spans.begin() + static_cast<ptrdiff_t>(first));
}

void merge_contiguous(std::vector<Span>& spans) {
  size_t kept = 0;
  bool previous_match = false;
  for (const Span span : spans) {
    if (span.match == previous_match && kept > 0)
      spans[kept - 1].end = span.end;
    else
      spans[kept++] = span;
    previous_match = span.match;
  }
  spans.resize(kept);
}

}  // namespace

void find_spans(const Finder& finder, std::string_view text, std::vector<Span>& spans) {
  spans.clear();
  if (text.empty()) return;
  size_t covered = 0, from = 0, start = 0, end = 0;
  bool matched = false;
  size_t last_end = 0;
  while (from <= text.size() && finder.find(text, from, start, end)) {
    if (start == end && matched && end == last_end) {
      from = end < text.size() ? end + code_point_length(text[end]) : end + 1;
      continue;
    }
    if (covered != start) spans.push_back({covered, start, false});
    spans.push_back({start, end, true});
    covered = from = last_end = end;
    matched = true;
  }
  if (covered != text.size()) spans.push_back({covered, text.size(), false});
}

std::unique_ptr<Finder> regex_finder(std::string_view pattern, std::string_view source) {
  if (pattern == "\\s+") return std::make_unique<SpaceRunFinder>();
  return std::make_unique<RegexFinder>(pattern, source);
}

std::unique_ptr<Finder> literal_finder(std::string literal) {
  return std::make_unique<LiteralFinder>(std::move(literal));
}

std::unique_ptr<Finder> character_finder(bool (*predicate)(char32_t)) {
  return std::make_unique<CharacterFinder>(predicate);
}

std::unique_ptr<Finder> word_finder() { return std::make_unique<WordFinder>(); }

std::unique_ptr<Finder> finder_from_json(const nlohmann::json& pattern, std::string_view source) {
  if (pattern.is_object() && pattern.size() == 1 && pattern.begin()->is_string()) {
    const auto& value = pattern.begin()->get_ref<const std::string&>();
    if (pattern.begin().key() == "Regex") return regex_finder(value, source);
    if (pattern.begin().key() == "String") return literal_finder(value);
  }
  throw DataError(source, "field 'pattern' must be {\"String\": ...} or {\"Regex\": ...}");
}

SplitBehavior split_behavior(std::string_view name, std::string_view source) {
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  throw DataError(source, "split behavior '" + std::string(name) + "' is not supported");
}

void apply_behavior(SplitBehavior behavior, std::vector<Span>& spans) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
      return;
    case SplitBehavior::kRemoved:
      std::erase_if(spans, [](const Span& span) { return span.match; });
      return;
    case SplitBehavior::kMergedWithPrevious:
      return merge_with_previous(spans);
    case SplitBehavior::kMergedWithNext:
      return merge_with_next(spans);
    case SplitBehavior::kContiguous:
      return merge_contiguous(spans);
  }
}

}  // namespace parapet::text
