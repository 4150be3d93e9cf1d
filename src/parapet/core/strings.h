// Small string helpers.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace parapet {

std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string_view trim(std::string_view text);
std::string to_lower_ascii(std::string_view text);
// The candidate within a third of the name's length in edit distance, nearest first; empty if none.
std::string closest_name(std::string_view name, const std::vector<std::string>& candidates);
// Printf-style number, e.g. format_number(0.12345, 3) = "0.123".
std::string format_number(double value, int decimals);
// "1.5 GB", "312 KB".
std::string format_bytes(int64_t bytes);
std::string base64_encode(std::string_view bytes);

}  // namespace parapet
