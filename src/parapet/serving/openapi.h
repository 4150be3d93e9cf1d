// The server's own description: every route, reply and field (OpenAPI 3.1).
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace parapet::serving {

// `profiles` = those of the policy, which requests may name.
nlohmann::ordered_json openapi_document(const std::vector<std::string>& profiles);

}  // namespace parapet::serving
