#include "parapet/guard/rules.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/core/text_encoding.h"
#include "parapet/core/utf8.h"
#include "parapet/guard/escapes.h"
#include "parapet/guard/pattern.h"
#include "parapet/guard/word_index.h"

namespace parapet::guard {
namespace {

constexpr int64_t kWordFileCap = 64 << 20;
constexpr size_t kMaxHits = 1000;  // of one list

bool contains(const std::vector<TextHit>& spans, const TextHit& hit, int32_t list) {
  return std::any_of(spans.begin(), spans.end(), [&](const TextHit& span) {
    return (list < 0 || span.list == list) && span.begin <= hit.begin && hit.end <= span.end;
  });
}

// Of hits of one list that lie in each other, the longest stays; the plainest view of equals.
void drop_nested(std::vector<TextHit>& hits) {
  std::stable_sort(hits.begin(), hits.end(), [](const TextHit& a, const TextHit& b) {
    if (a.list != b.list) return a.list < b.list;
    return a.begin != b.begin ? a.begin < b.begin : a.end > b.end;
  });
  std::vector<TextHit> kept;
  for (const TextHit& hit : hits)
    if (kept.empty() || kept.back().list != hit.list || hit.end > kept.back().end)
      kept.push_back(hit);
  std::stable_sort(kept.begin(), kept.end(), [](const TextHit& a, const TextHit& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.list < b.list;
  });
  hits = std::move(kept);
}

// Many hits are one long one in the end: what lies past the cap is neither missed nor left
// unmasked.
void join_past_cap(std::vector<TextHit>& hits) {
  if (hits.size() <= kMaxHits) return;
  struct Kept {
    size_t count = 0, last = 0;
  };
  std::map<int32_t, Kept> lists;
  std::vector<TextHit> kept;
  for (const TextHit& hit : hits) {
    Kept& list = lists[hit.list];
    if (list.count == kMaxHits) {
      kept[list.last].end = std::max(kept[list.last].end, hit.end);
      continue;
    }
    ++list.count;
    list.last = kept.size();
    kept.push_back(hit);
  }
  hits = std::move(kept);
}

// As the folded text that it is held against has them.
std::string with_plain_apostrophes(std::string pattern) {
  for (const std::string_view quote : {"‘", "’", "ʼ", "＇", "´"})
    for (size_t at = pattern.find(quote); at != std::string::npos; at = pattern.find(quote, at))
      pattern.replace(at, quote.size(), "'");
  return pattern;
}

}  // namespace

std::string WordFile::place(const std::filesystem::path& file, size_t entry) const {
  return file.string() + (json ? ": element " : ":") + std::to_string(numbers[entry]);
}

WordFile read_word_file(const std::filesystem::path& file) {
  const std::string text = read_text_file(file, kWordFileCap);
  WordFile out;
  int64_t number = 0;
  if (trim(text).starts_with('[')) {
    out.json = true;
    for (const auto& item : parse_json(text, file.string())) {
      if (!item.is_string())
        throw DataError(file.string(), "has an element that is not a string",
                        "A JSON word list is an array of strings.");
      out.entries.push_back(item.get<std::string>());
      out.numbers.push_back(++number);
    }
    return out;
  }
  for (const std::string& line : split(text, '\n')) {
    ++number;
    const std::string_view entry = trim(line);
    if (entry.empty() || entry[0] == '#') continue;
    out.entries.emplace_back(entry);
    out.numbers.push_back(number);
  }
  return out;
}

struct RuleSet::Impl {
  struct RegexEntry {
    int32_t list, entry;
    bool normalize;
    Pattern pattern;
  };
  std::vector<WordListOptions> lists;
  WordIndex words;
  WordIndex allowed;  // words in which a list's entries may stand
  std::vector<RegexEntry> patterns;
  size_t entries = 0;
  bool any_accents = false;

  void add_entry(int32_t list, int32_t entry, const std::string& text);
  bool applies(int32_t list, Side side) const {
    const auto& sides = lists[static_cast<size_t>(list)].sides;
    return std::find(sides.begin(), sides.end(), side_name(side)) != sides.end();
  }
  void scan_patterns(std::string_view text, const Folded& plain, std::vector<TextHit>& hits,
                     std::vector<int32_t>& failed) const;
  std::vector<TextHit> scan_reading(std::string_view text, Side side,
                                    std::vector<int32_t>& failed) const;
};

void RuleSet::Impl::add_entry(int32_t list, int32_t entry, const std::string& raw) {
  const WordListOptions& options = lists[static_cast<size_t>(list)];
  ++entries;
  if (options.kind == "regex") {
    try {
      patterns.push_back({list, entry, options.normalize,
                          Pattern(options.normalize ? with_plain_apostrophes(raw) : raw)});
    } catch (const UsageError& error) {
      throw UsageError("rules list '" + options.name + "', entry " + std::to_string(entry + 1) +
                       ": " + error.what());
    }
    return;
  }
  std::string storage;
  words.add(fold(repair_utf8(raw, storage)), {.list = list,
                                              .entry = entry,
                                              .inside_words = options.inside_words,
                                              .fold_accents = options.fold_accents,
                                              .plain_only = !options.normalize});
}

RuleSet::RuleSet(const std::vector<WordListOptions>& lists) : impl_(std::make_unique<Impl>()) {
  impl_->lists = lists;
  for (size_t i = 0; i < lists.size(); ++i) {
    const auto list = static_cast<int32_t>(i);
    int32_t entry = 0;
    for (const std::string& text : lists[i].entries) impl_->add_entry(list, entry++, text);
    for (const auto& file : lists[i].files)
      for (const std::string& text : read_word_file(file).entries)
        impl_->add_entry(list, entry++, text);
    impl_->any_accents = impl_->any_accents || lists[i].fold_accents;
    for (const std::string& text : lists[i].allow) {
      std::string storage;
      impl_->allowed.add(fold(repair_utf8(text, storage)),
                         {.list = list, .entry = 0, .plain_only = true});
    }
  }
  impl_->words.build();
  impl_->allowed.build();
}

RuleSet::~RuleSet() = default;
size_t RuleSet::entries() const { return impl_->entries; }

bool RuleSet::looks_at(Side side) const {
  for (size_t i = 0; i < impl_->lists.size(); ++i)
    if (!impl_->lists[i].allows && impl_->applies(static_cast<int32_t>(i), side)) return true;
  return false;
}

void RuleSet::Impl::scan_patterns(std::string_view text, const Folded& plain,
                                  std::vector<TextHit>& hits, std::vector<int32_t>& failed) const {
  if (patterns.empty()) return;
  std::string folded;
  std::vector<uint32_t> begins, ends;  // per byte of `folded`
  for (const FoldedChar& one : plain) {
    append_utf8(folded, one.c);
    begins.resize(folded.size(), one.begin);
    ends.resize(folded.size(), one.end);
  }
  std::vector<Pattern::Span> spans;
  for (const RegexEntry& entry : patterns) {
    spans.clear();
    if (!entry.pattern.find_all(entry.normalize ? std::string_view(folded) : text, spans))
      failed.push_back(entry.list);
    for (const auto& span : spans) {
      const size_t begin = entry.normalize ? begins[span.begin] : span.begin;
      const size_t end = entry.normalize ? ends[span.end - 1] : span.end;
      hits.push_back({entry.list, entry.entry, begin, end, "regex"});
    }
  }
}

// Hits of the lists in one reading of a text, shields and allowed words taken off.
std::vector<TextHit> RuleSet::Impl::scan_reading(std::string_view text, Side side,
                                                 std::vector<int32_t>& failed) const {
  const std::vector<TextView> views = text_views(text, any_accents, words.has_phrases());
  std::vector<TextHit> hits, shields;
  for (const TextView& view : views) words.find(view, hits);
  scan_patterns(text, views[0].chars, hits, failed);
  std::vector<TextHit> allowed_words;
  allowed.find(views[0], allowed_words);
  for (const TextHit& hit : hits)
    if (lists[static_cast<size_t>(hit.list)].allows && applies(hit.list, side))
      shields.push_back(hit);
  std::erase_if(hits, [&](const TextHit& hit) {
    return lists[static_cast<size_t>(hit.list)].allows || !applies(hit.list, side) ||
           contains(shields, hit, -1) || contains(allowed_words, hit, hit.list);
  });
  return hits;
}

std::vector<TextHit> RuleSet::scan(std::string_view text, Side side,
                                   std::vector<int32_t>& failed) const {
  std::vector<TextHit> hits = impl_->scan_reading(text, side, failed);
  if (const Unescaped plain = unescape(text); !plain.text.empty()) {
    for (TextHit& hit : impl_->scan_reading(plain.text, side, failed)) {
      if (!impl_->lists[static_cast<size_t>(hit.list)].normalize) continue;
      hit.begin = plain.begins[hit.begin];
      hit.end = plain.ends[hit.end - 1];
      hit.view = "escapes";
      hits.push_back(hit);
    }
    if (!plain.complete)
      for (size_t i = 0; i < impl_->lists.size(); ++i)
        if (impl_->lists[i].normalize && !impl_->lists[i].allows)
          failed.push_back(static_cast<int32_t>(i));
  }
  std::erase_if(failed, [&](int32_t list) { return !impl_->applies(list, side); });
  std::sort(failed.begin(), failed.end());
  failed.erase(std::unique(failed.begin(), failed.end()), failed.end());
  drop_nested(hits);
  join_past_cap(hits);
  return hits;
}

}  // namespace parapet::guard
