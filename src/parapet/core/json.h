// JSON with errors that name the file and field. The heavy header stays in sources: include
// <nlohmann/json.hpp> where values are used.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace parapet {

// DataError names the file and the byte offset of the mistake.
nlohmann::json parse_json(std::string_view text, std::string_view source);
nlohmann::json load_json(const std::filesystem::path& file);
// Pretty-printed, atomic.
void save_json(const std::filesystem::path& file, const nlohmann::json& value);

// A required field of a type; DataError "<source>: field 'x' ..." otherwise. Instantiated for
// bool, int64_t, double, std::string, std::vector<std::string>, std::vector<double>,
// std::vector<int64_t>.
template <class T>
T json_field(const nlohmann::json& object, std::string_view field, std::string_view source);
// The same, with a default when the field is absent or null.
template <class T>
T json_field_or(const nlohmann::json& object, std::string_view field, T fallback,
                std::string_view source);

}  // namespace parapet
