#include <cctype>
#include <vector>

#include "parapet/methods/guard_heads/augment.h"

namespace parapet {
namespace {

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// [begin, end) of words of at least four ASCII letters; other scripts are left alone.
std::vector<std::pair<size_t, size_t>> words_of(const std::string& text) {
  std::vector<std::pair<size_t, size_t>> words;
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    while (end < text.size() && letter(text[end])) ++end;
    if (end - i >= 4) words.emplace_back(i, end);
    i = end == i ? i + 1 : end;
  }
  return words;
}

void typo(std::string& text, Random& random) {
  const auto words = words_of(text);
  if (words.empty()) return;
  const auto [begin, end] = random.pick(words);
  // The first letter stays, as in most real mistakes.
  const auto at = static_cast<size_t>(
      random.between(static_cast<int64_t>(begin) + 1, static_cast<int64_t>(end) - 2));
  const uint64_t kind = random.below(3);
  if (kind == 0) std::swap(text[at], text[at + 1]);
  if (kind == 1) text.erase(at, 1);
  if (kind == 2) text.insert(at, 1, text[at]);
}

void leet(std::string& text, Random& random) {
  for (char& c : text) {
    const std::string_view from = "aeiost", to = "431057";
    const size_t at = from.find(c);
    if (at != std::string_view::npos && random.chance(0.4)) c = to[at];
  }
}

void space_out(std::string& text, Random& random) {
  const auto words = words_of(text);
  if (words.empty()) return;
  const auto [begin, end] = random.pick(words);
  const char gap = random.chance(0.5) ? ' ' : '.';
  for (size_t i = end - 1; i > begin; --i) text.insert(i, 1, gap);
}

}  // namespace

std::string augment_text(std::string_view text, const AugmentOptions& options, Random& random) {
  std::string out(text);
  if (random.chance(options.typo)) typo(out, random);
  if (random.chance(options.leet)) leet(out, random);
  if (random.chance(options.spacing)) space_out(out, random);
  if (random.chance(options.letter_case))
    for (char& c : out)
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return out;
}

}  // namespace parapet
