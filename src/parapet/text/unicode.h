// Character classes, case and normal forms, as the Hugging Face `tokenizers` wheel sees them. Its
// parts carry different Unicode versions; unicode_versions.h lists where they differ from ours.
#pragma once
#include <string>
#include <string_view>

namespace parapet::text {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// Property White_Space.
bool is_white_space(char32_t cp);
// General category N*, L*, M*.
bool is_number(char32_t cp);
bool is_combining_mark(char32_t cp);
// ASCII punctuation or general category P*.
bool is_punctuation(char32_t cp);
// `\w`: alphabetic, marks, decimal digits, connector punctuation, join controls.
bool is_word_character(char32_t cp);

// Per character and without context: final sigma is not special, U+0130 becomes two code points.
void append_lowercase(std::string& out, char32_t cp);
// Replaces the content of `out` (valid UTF-8 in, valid UTF-8 out).
void lowercase(std::string_view s, std::string& out);
// False when `s` is known to be in the form already (and `out` is untouched). Linear up to sorting
// runs of marks.
bool normalize(std::string_view s, NormalForm form, std::string& out);

}  // namespace parapet::text
