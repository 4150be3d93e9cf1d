// What toml++ 3.3 does not survive in a hostile file, refused before it parses.
#pragma once
#include <string_view>

namespace parapet {

// UsageError as "source:line: problem": more than 64 dots in a row of keys (it caps nested values
// but not dotted keys, and frees what it built by recursion), or bytes beyond ASCII outside quotes
// and comments (undefined behaviour where it looks for blanks; TOML has none there).
void check_toml_text(std::string_view text, std::string_view source);

}  // namespace parapet
