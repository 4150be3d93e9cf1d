#include "parapet/models/config_fields.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"

namespace parapet {

int64_t bounded_field(const nlohmann::json& object, const char* field, int64_t fallback,
                      int64_t low, int64_t high, const std::string& source) {
  const auto value = json_field_or<int64_t>(object, field, fallback, source);
  if (value < low || value > high)
    throw DataError(source, std::string("field '") + field + "' is " + std::to_string(value) +
                                ", must be in " + std::to_string(low) + ".." +
                                std::to_string(high));
  return value;
}

double bounded_number(const nlohmann::json& object, const char* field, double fallback, double low,
                      double high, const std::string& source) {
  const auto value = json_field_or<double>(object, field, fallback, source);
  if (!(value >= low && value < high))
    throw DataError(source, std::string("field '") + field + "' is " +
                                nlohmann::json(value).dump() + ", must be in [" +
                                nlohmann::json(low).dump() + ", " + nlohmann::json(high).dump() +
                                ")");
  return value;
}

}  // namespace parapet
