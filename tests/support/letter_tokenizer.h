// A tokenizer for the golden CLIP's vocabulary of 31: a letter is a token.
#pragma once
#include <string_view>
#include <vector>

#include "parapet/text/tokenizer.h"

namespace parapet::test {

class LetterTokenizer final : public Tokenizer {
 public:
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions&) const override {
    std::vector<int32_t> ids;
    for (const char c : text.substr(0, 10)) ids.push_back(c % 30);
    ids.push_back(eos_id());
    return ids;
  }
  std::string decode(const std::vector<int32_t>&, bool) const override { return {}; }
  int64_t vocab_size() const override { return 31; }
  int32_t token_id(std::string_view) const override { return -1; }
  int32_t bos_id() const override { return 0; }
  int32_t eos_id() const override { return 30; }
  int32_t pad_id() const override { return 30; }
  bool is_marker(int32_t id) const override { return id == eos_id(); }
  int64_t model_max_length() const override { return 12; }
};

}  // namespace parapet::test
