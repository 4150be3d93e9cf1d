#pragma once
#include <string_view>

namespace parapet {

// Of this library, e.g. "0.1.0"; from CMake's project version.
std::string_view version();

}  // namespace parapet
