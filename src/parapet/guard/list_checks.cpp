#include "parapet/guard/list_checks.h"

#include <algorithm>
#include <array>

#include "parapet/core/utf8.h"
#include "parapet/guard/fold.h"

namespace parapet::guard {
namespace {

// "/abc/i", as JavaScript and Perl write a regex.
bool has_slashes(std::string_view entry) {
  const size_t last = entry.rfind('/');
  return entry.size() > 2 && entry[0] == '/' && last > 1 && last != std::string_view::npos &&
         entry.find_first_not_of("gimsuyxADJUnd", last + 1) == std::string_view::npos;
}

// r"abc", as Python does.
bool has_python_quotes(std::string_view entry) {
  return entry.size() > 3 && (entry[0] == 'r' || entry[0] == 'R') &&
         (entry[1] == '"' || entry[1] == '\'') && entry.back() == entry[1];
}

std::string regex_problem(std::string_view entry, bool normalize) {
  if (has_slashes(entry))
    return "stands between slashes: write the regex alone, without slashes and flags (letters "
           "match in both cases already)";
  if (has_python_quotes(entry)) return "stands in quotes of its own: write the regex alone";
  if (entry.find('\b') != std::string_view::npos)
    return "holds a backspace, which is what \"\\b\" means in double quotes: write the regex in "
           "single quotes";
  if (entry.find_first_not_of(" \t\r\n") == std::string_view::npos) return "is blank";
  if (entry.size() > 1 && entry[0] == '$')
    return "has text after '$', the end of the text: write \\$ for the sign";
  if (entry.size() > 1 && entry.back() == '^' && entry[entry.size() - 2] != '\\' &&
      entry[entry.size() - 2] != '[')
    return "has text before '^', the start of the text: write \\^ for the sign";
  if (normalize && entry.find("(?-i)") != std::string_view::npos)
    return "asks for capitals, but the text it is held against has none: set normalize = false";
  return "";
}

// Whether a word is written as a regex or as a pattern of a shell.
bool looks_like_pattern(std::string_view entry) {
  static constexpr std::array<std::string_view, 15> kParts = {"\\b", "\\w", "\\W", "\\s", "\\S",
                                                              "\\d", "\\D", ".*",  ".+",  "(?",
                                                              "[a-", "[A-", "[0-", "[^",  ")|"};
  if (std::any_of(kParts.begin(), kParts.end(), [&](std::string_view part) {
        return entry.find(part) != std::string_view::npos;
      }))
    return true;
  const size_t bar = entry.find('|');
  if (entry[0] == '(' && entry.back() == ')' && bar != std::string_view::npos) return true;
  if (entry[0] == '^' && entry.size() > 2 && entry.back() == '$') return true;
  const auto letter = [](char c) { return is_letter(static_cast<unsigned char>(c)); };
  const bool star_last = entry.size() > 2 && entry.back() == '*' && letter(entry[entry.size() - 2]);
  const bool star_first = entry.size() > 2 && entry[0] == '*' && letter(entry[1]);
  return star_last || star_first;
}

std::string word_problem(std::string_view entry) {
  if (entry.find_first_not_of(" \t\r\n") == std::string_view::npos)
    return "is blank and would never match: remove it";
  std::string storage;
  const Folded folded = fold(repair_utf8(entry, storage));
  const auto visible = std::count_if(folded.begin(), folded.end(),
                                     [](const FoldedChar& one) { return one.c != U' '; });
  if (visible == 0)
    return "holds invisible characters only and would never match: remove it, or write letters";
  if (has_slashes(entry) || looks_like_pattern(entry))
    return "is written as a regex or pattern, but the list is of words and would look for these "
           "very signs: set kind = \"regex\", or write the word alone";
  const bool meant = std::any_of(folded.begin(), folded.end(), [](const FoldedChar& one) {
    return is_word_char(one.c) || one.c >= 0x2100;  // emoji and other symbols say something
  });
  if (!meant) return "holds punctuation only: write a word, or use kind = \"regex\"";
  return "";
}

}  // namespace

std::string entry_problem(const WordListOptions& list, std::string_view entry,
                          int64_t max_text_bytes) {
  if (list.kind == "regex") return regex_problem(entry, list.normalize);
  if (static_cast<int64_t>(entry.size()) > max_text_bytes)
    return "is longer than the longest text that the policy takes and would never match: shorten "
           "it, or raise [limits] max_text_bytes";
  return word_problem(entry);
}

}  // namespace parapet::guard
