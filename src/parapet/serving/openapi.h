// The server's own description: every route, reply and field (OpenAPI 3.1).
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace parapet::serving {

struct ApiFacts {
  std::vector<std::string> profiles;  // of the policy, which requests may name
  int64_t max_parts = 256;
};
nlohmann::ordered_json openapi_document(const ApiFacts& facts);

}  // namespace parapet::serving
