// Our own request: {"parts": [...], "side": "input", ...}.
#include "parapet/serving/dialect_parts.h"

namespace parapet::serving {

OwnRequest read_guard_request(const nlohmann::json& body, const DialectLimits& limits) {
  OwnRequest result;
  Fields fields(body, "", result.options.unknown);
  fields.require("parts");
  const nlohmann::json& parts = *fields.array("parts", limits.max_parts);
  if (parts.empty()) throw ApiError(400, "invalid_value", "'parts' must not be empty", "parts");
  PartReader reader(result.input, result.options.unknown);
  for (size_t i = 0; i < parts.size(); ++i) reader.part(parts[i], fields.path("parts", i));
  read_options(fields, result.input, result.options);
  fields.finish();
  return result;
}

}  // namespace parapet::serving
