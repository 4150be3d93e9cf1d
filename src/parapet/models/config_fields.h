// Fields of a config.json that must lie in a range: sizes from outside are capped before anything
// is allocated by them.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>

namespace parapet {

// DataError names `source`, the field and the range.
int64_t bounded_field(const nlohmann::json& object, const char* field, int64_t fallback,
                      int64_t low, int64_t high, const std::string& source);
// `low` itself is allowed, `high` is not.
double bounded_number(const nlohmann::json& object, const char* field, double fallback, double low,
                      double high, const std::string& source);

}  // namespace parapet
