// A user's regular expression, safe to run on anyone's text: PCRE2 with limits on steps, memory and
// length, so that no pattern can hang the guard.
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace parapet::guard {

class Pattern {
 public:
  // Case-insensitive, Unicode classes. UsageError when malformed.
  explicit Pattern(std::string_view pattern);
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  Pattern& operator=(Pattern&&) noexcept;

  struct Span {
    size_t begin, end;  // bytes
  };
  // Appends every non-empty match in valid UTF-8, at most 1000: the last then reaches to the end of
  // those past it. False when a limit was hit first: the text is then not scanned by this pattern.
  bool find_all(std::string_view text, std::vector<Span>& spans) const;
  // What is wrong with a pattern; empty = nothing.
  static std::string problem(std::string_view pattern);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace parapet::guard
