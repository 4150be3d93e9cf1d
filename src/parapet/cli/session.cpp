#include <torch/version.h>

#include "parapet/cli/command.h"

namespace parapet::cli {

RunInfo run_info(const Session& session, std::map<std::string, std::filesystem::path> inputs) {
  RunInfo info;
  info.argv = session.argv;
  info.resolved_toml = session.resolved_toml;
  info.seed = session.common.seed;
  info.inputs = std::move(inputs);
  info.versions = {{"torch", TORCH_VERSION}};
  info.started = session.started;
  return info;
}

}  // namespace parapet::cli
