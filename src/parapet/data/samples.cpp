#include "parapet/data/samples.h"

namespace parapet {

std::string resolve_location(const std::filesystem::path& folder, const std::string& value) {
  return value.empty() || std::filesystem::path(value).is_absolute() ? value
                                                                     : (folder / value).string();
}

}  // namespace parapet
