// Files of texts, for commands that take --texts.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace parapet {

// Calls `fn` with blocks of at most `block` texts, in order; an empty file gives none. A file named
// *.jsonl holds one JSON string or one {"text": ...} per line, so that texts may contain line
// breaks, and blank lines are skipped. Any other file holds one text per line (a blank line is an
// empty text; a final '\r' is dropped). Encodings are core/text_encoding.h's. DataError names file
// and line.
void read_texts(const std::filesystem::path& file, size_t block,
                const std::function<void(const std::vector<std::string>&)>& fn);
// The same, all at once.
std::vector<std::string> read_texts(const std::filesystem::path& file);

}  // namespace parapet
