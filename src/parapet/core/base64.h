// Base64 from outside: data URIs, API fields. strings.h has the encoder.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace parapet {

// Bytes that `text` would decode to, at most; for caps before decoding.
int64_t base64_decoded_bound(std::string_view text);

// RFC 4648 section 4 or its URL-safe alphabet, padded or not, ASCII white space skipped. DataError
// names `source` and the offset of the first wrong character, a length that no encoder makes, bits
// left over in the last character, or more than `max_bytes` (checked before allocation).
std::string base64_decode(std::string_view text, std::string_view source,
                          int64_t max_bytes = int64_t{1} << 30);

}  // namespace parapet
