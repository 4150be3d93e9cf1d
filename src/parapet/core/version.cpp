#include "parapet/core/version.h"

namespace parapet {

std::string_view version() { return PARAPET_VERSION; }

}  // namespace parapet
