// Internal: members of "components/schemas" in openapi.json.
#pragma once
#include <string_view>

namespace parapet::serving {

std::string_view openapi_requests();
std::string_view openapi_replies();

}  // namespace parapet::serving
