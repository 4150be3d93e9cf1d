// Any bytes as base64: a DataError, or bytes that encode to the same text again; and any bytes
// survive the way there and back.
#include <cstdlib>
#include <string>

#include "parapet/core/base64.h"
#include "parapet/core/error.h"
#include "parapet/core/strings.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace parapet;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (base64_decode(base64_encode(text), "fuzz") != text) std::abort();
  try {
    const std::string bytes = base64_decode(text, "fuzz");
    std::string plain;
    for (const char c : text) {
      if (c == '=' || c == ' ' || c == '\t' || c == '\n' || c == '\r') continue;
      plain += c == '-' ? '+' : c == '_' ? '/' : c;
    }
    std::string again = base64_encode(bytes);
    while (!again.empty() && again.back() == '=') again.pop_back();
    if (again != plain) std::abort();
    const auto cap = static_cast<int64_t>(bytes.size());
    if (base64_decode(text, "fuzz", cap + 4 + static_cast<int64_t>(size)) != bytes) std::abort();
  } catch (const DataError&) {
  }
  return 0;
}
