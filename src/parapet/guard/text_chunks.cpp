#include "parapet/guard/text_chunks.h"

#include <algorithm>

#include "parapet/core/utf8.h"

namespace parapet::guard {
namespace {

constexpr size_t kLongWord = 24;  // code points; longer ones are cut
// Runs of letters are searched for markers in windows of this size, half of which overlaps: a run
// of a megabyte full of markers would take minutes otherwise.
constexpr size_t kWindow = 512;
constexpr size_t kShortText = 4096;

struct Word {
  size_t begin, end;  // blanks before it included
  int64_t tokens;
};

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::vector<int32_t> ids_of(std::string_view text, const Tokenizer& tokenizer) {
  return tokenizer.encode(text, {.add_special_tokens = false, .max_length = 0});
}

bool has_marker(std::string_view text, const Tokenizer& tokenizer) {
  const auto ids = ids_of(text, tokenizer);
  return std::any_of(ids.begin(), ids.end(), [&](int32_t id) { return tokenizer.is_marker(id); });
}

// Where the next of `text`'s code points begins, at or behind `pos`.
size_t boundary(std::string_view text, size_t pos) {
  while (pos < text.size() && (static_cast<uint8_t>(text[pos]) & 0xC0) == 0x80) ++pos;
  return pos;
}

// Smallest value in (low, high] that `holds`, given that `high` does; by halving.
template <typename Holds>
size_t smallest(size_t low, size_t high, const Holds& holds) {
  while (high - low > 1) {
    const size_t middle = low + (high - low) / 2;
    (holds(middle) ? high : low) = middle;
  }
  return high;
}

void blank_copies(std::string& text, const std::string& marker) {
  const std::string blanks(marker.size(), ' ');
  for (size_t at = 0; (at = text.find(marker, at)) != std::string::npos; at += marker.size())
    text.replace(at, marker.size(), blanks);
}

// Blanks the markers of text[begin, end), found as the tokenizer finds them, whatever it folds: the
// shortest beginning that has one ends with it, and the shortest ending of that is it.
void blank_window(std::string& text, size_t begin, size_t end, const Tokenizer& tokenizer) {
  while (begin < end) {
    const std::string_view run = std::string_view(text).substr(begin, end - begin);
    if (!has_marker(run, tokenizer)) return;
    const size_t last = smallest(0, run.size(), [&](size_t size) {
      return has_marker(run.substr(0, boundary(run, size)), tokenizer);
    });
    const std::string_view head = run.substr(0, boundary(run, last));
    const size_t size = smallest(0, head.size(), [&](size_t tail) {
      return has_marker(head.substr(boundary(head, head.size() - tail)), tokenizer);
    });
    const std::string marker(head.substr(boundary(head, head.size() - size)));
    begin += head.size();
    // The same spelling is not searched for again.
    blank_copies(text, marker);
  }
}

// Appends text[begin, end), which has at most one run of letters, as words that each fit.
void add_word(std::string_view text, size_t begin, size_t end, const Tokenizer& tokenizer,
              int64_t max_tokens, std::vector<Word>& words) {
  const std::string_view word = text.substr(begin, end - begin);
  const auto tokens = static_cast<int64_t>(ids_of(word, tokenizer).size());
  const size_t middle = boundary(word, word.size() / 2);
  if (tokens <= max_tokens || middle == 0 || middle == word.size()) {
    words.push_back({begin, end, tokens});
    return;
  }
  add_word(text, begin, begin + middle, tokenizer, max_tokens, words);
  add_word(text, begin + middle, end, tokenizer, max_tokens, words);
}

std::vector<Word> words_of(std::string_view text, const Tokenizer& tokenizer, int64_t max_tokens) {
  std::vector<Word> words;
  for (size_t pos = 0; pos < text.size();) {
    const size_t begin = pos;
    while (pos < text.size() && is_blank(text[pos])) ++pos;
    for (size_t count = 0; pos < text.size() && !is_blank(text[pos]) && count < kLongWord; ++count)
      next_code_point(text, pos);
    add_word(text, begin, pos, tokenizer, max_tokens, words);
  }
  return words;
}

// The piece of words [first, last), shortened while joined words make more tokens than apart.
TextChunk chunk_of(std::string_view text, const std::vector<Word>& words, size_t first,
                   size_t& last, const Tokenizer& tokenizer, int64_t max_tokens) {
  for (;; --last) {
    const size_t begin = words[first].begin, end = words[last - 1].end;
    TextChunk chunk{std::string(text.substr(begin, end - begin)), begin, end};
    const auto ids = ids_of(chunk.text, tokenizer);
    chunk.readable =
        static_cast<int64_t>(ids.size()) <= max_tokens &&
        std::none_of(ids.begin(), ids.end(), [&](int32_t id) { return tokenizer.is_marker(id); });
    if (chunk.readable || last == first + 1) return chunk;
  }
}

}  // namespace

std::string blank_markers(std::string_view text, const Tokenizer& tokenizer) {
  std::string blanked(text);
  for (size_t pos = 0; pos < blanked.size();) {
    while (pos < blanked.size() && is_blank(blanked[pos])) ++pos;
    const size_t begin = pos;
    while (pos < blanked.size() && !is_blank(blanked[pos])) ++pos;
    for (size_t at = begin; at < pos; at = boundary(blanked, at + kWindow / 2)) {
      const size_t end = std::min(pos, boundary(blanked, std::min(pos, at + kWindow)));
      blank_window(blanked, at, end, tokenizer);
      if (end == pos) break;
    }
  }
  // What is left has blanks inside. In a long text the piece that holds it counts as unread.
  if (blanked.size() <= kShortText) blank_window(blanked, 0, blanked.size(), tokenizer);
  return blanked;
}

std::vector<TextChunk> text_chunks(std::string_view text, const Tokenizer& tokenizer,
                                   int64_t max_tokens) {
  const std::string blanked = blank_markers(text, tokenizer);
  // No tokenizer makes more than one token of a byte.
  if (static_cast<int64_t>(blanked.size()) <= max_tokens)
    return {{blanked, 0, blanked.size(), !has_marker(blanked, tokenizer)}};
  const auto words = words_of(blanked, tokenizer, max_tokens);
  std::vector<TextChunk> chunks;
  for (size_t first = 0; first < words.size();) {
    int64_t tokens = 0;
    size_t last = first;
    while (last < words.size() && (last == first || tokens + words[last].tokens <= max_tokens))
      tokens += words[last++].tokens;
    chunks.push_back(chunk_of(blanked, words, first, last, tokenizer, max_tokens));
    if (last == words.size()) break;
    size_t next = last;
    for (int64_t overlap = 0; next > first + 1; --next) {
      overlap += words[next - 1].tokens;
      if (overlap > max_tokens / 4) break;
    }
    first = next;
  }
  return chunks;
}

}  // namespace parapet::guard
