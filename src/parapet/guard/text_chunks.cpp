#include "parapet/guard/text_chunks.h"

#include <algorithm>

#include "parapet/text/utf8.h"

namespace parapet::guard {
namespace {

constexpr size_t kLongWord = 24;  // code points; longer ones are cut

struct Word {
  size_t begin, end;  // blanks before it included
  int64_t tokens;
};

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

std::vector<Word> words_of(std::string_view text, const Tokenizer& tokenizer) {
  std::vector<Word> words;
  for (size_t pos = 0; pos < text.size();) {
    const size_t begin = pos;
    while (pos < text.size() && is_blank(text[pos])) ++pos;
    for (size_t count = 0; pos < text.size() && !is_blank(text[pos]) && count < kLongWord; ++count)
      text::next_code_point(text, pos);
    const std::string_view word = text.substr(begin, pos - begin);
    const auto ids = tokenizer.encode(word, {.add_special_tokens = false, .max_length = 0});
    words.push_back({begin, pos, static_cast<int64_t>(ids.size())});
  }
  return words;
}

}  // namespace

std::vector<TextChunk> text_chunks(std::string_view text, const Tokenizer& tokenizer,
                                   int64_t max_tokens) {
  // No tokenizer makes more than one token of a byte.
  if (static_cast<int64_t>(text.size()) <= max_tokens) return {{std::string(text), 0, text.size()}};
  const auto words = words_of(text, tokenizer);
  std::vector<TextChunk> chunks;
  for (size_t first = 0; first < words.size();) {
    int64_t tokens = 0;
    size_t last = first;
    while (last < words.size() && (last == first || tokens + words[last].tokens <= max_tokens))
      tokens += words[last++].tokens;
    const size_t begin = words[first].begin, end = words[last - 1].end;
    chunks.push_back({std::string(text.substr(begin, end - begin)), begin, end});
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
