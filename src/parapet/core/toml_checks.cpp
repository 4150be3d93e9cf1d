#include "parapet/core/toml_checks.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "parapet/core/error.h"

namespace parapet {
namespace {

constexpr int kMaxDots = 64;

// Steps over one string, from its opening quote to the last closing one; the end of the line ends
// a single-line string, whatever toml++ then says of it.
size_t string_end(std::string_view text, size_t at, uint32_t& line) {
  const char quote = text[at];
  const bool multi = text.substr(at, 3) == std::string(3, quote);
  for (size_t i = at + (multi ? 3 : 1); i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') {
      if (!multi) return i - 1;
      ++line;
    } else if (c == '\\' && quote == '"') {
      if (i + 1 < text.size() && text[i + 1] != '\n') ++i;
    } else if (c == quote && !multi) {
      return i;
    } else if (c == quote && text.substr(i, 3) == std::string(3, quote)) {
      i += 2;
      // A string of several lines may end in quotes of its own.
      for (int more = 0; more < 2 && text.substr(i + 1, 1) == std::string(1, quote); ++more) ++i;
      return i;
    }
  }
  return text.size();
}

}  // namespace

void check_toml_text(std::string_view text, std::string_view source) {
  uint32_t line = 1;
  int dots = 0;
  const auto refuse = [&](const std::string& problem) {
    throw UsageError(std::string(source) + ":" + std::to_string(line) + ": " + problem);
  };
  for (size_t i = text.starts_with("\xEF\xBB\xBF") ? 3 : 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (c == '.') ++dots;
    if (c == '\n' || c == '=' || c == ',' || c == '[' || c == '{') dots = 0;
    if (dots > kMaxDots)
      refuse("more than " + std::to_string(kMaxDots) + " dots in a row; split the line");
    if (static_cast<unsigned char>(c) >= 0x80)
      refuse("not valid TOML: letters other than a-z stand outside quotes");
    if (c == '"' || c == '\'')
      i = string_end(text, i, line);
    else if (c == '#')
      i = std::min(text.find('\n', i), text.size()) - 1;
  }
}

}  // namespace parapet
