// Long texts in pieces that fit a text tower, so that nothing is silently cut off.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/text/tokenizer.h"

namespace parapet::guard {

struct TextChunk {
  std::string text;
  size_t begin, end;  // bytes of the whole
};

// Pieces of at most `max_tokens` (without the two special ones), cut between words where possible,
// each overlapping the one before by up to a quarter. One piece when it all fits.
std::vector<TextChunk> text_chunks(std::string_view text, const Tokenizer& tokenizer,
                                   int64_t max_tokens);

}  // namespace parapet::guard
