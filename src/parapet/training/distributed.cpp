#include "parapet/training/distributed.h"

#include "parapet/core/error.h"
#include "parapet/training/world.h"

namespace parapet {

std::unique_ptr<Communicator> make_communicator(const WorldInfo& info, const std::string& device) {
  if (info.world_size == 1) return std::make_unique<WorldOne>();
  throw UsageError("WORLD_SIZE > 1 is not supported by this build");
}

}  // namespace parapet
