// Internal: long plain strings (images as base64) pass a JSON parser at a hundred MB/s, a character
// at a time. They are lifted out before it, and put back after.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace parapet::serving {

class LongStrings {
 public:
  // `text` outlives this.
  explicit LongStrings(std::string_view text) : text_(text) {}
  // Offers the string literal whose quotes are at `open` and `close`, in order. Taken when it is
  // long, plain ASCII without escapes, and no key.
  void offer(size_t open, size_t close);
  // There are some, and the text holds nothing like the tokens that would stand for them.
  bool worth_lifting() const;
  // The text with a token in place of each.
  std::string reduced() const;
  // Puts the strings back.
  void restore(nlohmann::json& value) const;

 private:
  std::string_view text_;
  std::vector<std::string_view> strings_;
};

}  // namespace parapet::serving
