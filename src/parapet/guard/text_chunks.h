// Long texts in pieces that a text tower reads to their end, so that nothing is silently cut off.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/text/tokenizer.h"

namespace parapet::guard {

struct TextChunk {
  std::string text;   // with blanks in place of markers
  size_t begin, end;  // bytes of the whole
  // False: the model would not read this piece to its end, however it is cut.
  bool readable = true;
};

// The text with a blank for every byte of the markers (Tokenizer::is_marker) that encode() finds in
// it: a text tower pools at the first end of text, and whatever stands behind it would go unread.
std::string blank_markers(std::string_view text, const Tokenizer& tokenizer);

// Pieces of at most `max_tokens` (without the special ones around them), cut between words where
// possible, each overlapping the one before by up to a quarter. One piece when it all fits.
std::vector<TextChunk> text_chunks(std::string_view text, const Tokenizer& tokenizer,
                                   int64_t max_tokens);

}  // namespace parapet::guard
