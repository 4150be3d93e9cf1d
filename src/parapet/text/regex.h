// Regular expressions of tokenizer.json. The reference compiles them with Oniguruma in its Ruby
// syntax; here they are translated to PCRE2 (JIT, UTF, UCP).
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace parapet::text {

// One compiled pattern, shared by all threads.
class Regex {
 public:
  // DataError "<source>: ..." when the pattern is malformed or uses what PCRE2 cannot express
  // (class intersections, nested classes).
  Regex(std::string_view pattern, std::string_view source);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex(const Regex&) = delete;

  // First match at or after `from` of valid UTF-8 text; false when there is none. DataError when
  // the match limit is hit.
  bool search(std::string_view text, size_t from, size_t& start, size_t& end) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The PCRE2 pattern that means what `pattern` means to Oniguruma. Exposed for tests.
std::string translate_regex(std::string_view pattern, std::string_view source);

}  // namespace parapet::text
