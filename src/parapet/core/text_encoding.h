// Text of files that others wrote: every reader of such a file goes through here, so that no letter
// is read wrong without a word.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "parapet/core/files.h"

namespace parapet {

// The bytes as UTF-8. A byte order mark says what they are: UTF-8 (it is dropped), UTF-16 or UTF-32
// of either order (converted, held in `storage`). Without one they must be UTF-8: DataError names
// "source:line", the byte and what to do, also where zero bytes show UTF-16 without its mark. The
// result points into `bytes` or `storage`.
std::string_view utf8_text(std::string_view bytes, std::string_view source, std::string& storage);
// The same without the check of what has no mark, for readers that check each record themselves
// and can leave a bad one out.
std::string_view marked_text(std::string_view bytes, std::string_view source, std::string& storage);

// A whole file as `utf8_text` reads it.
std::string read_text_file(const std::filesystem::path& file, int64_t cap = kDefaultReadCap);

}  // namespace parapet
