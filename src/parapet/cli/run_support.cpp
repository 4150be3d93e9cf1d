#include "parapet/cli/run_support.h"

#include <ATen/Version.h>
#include <torch/headeronly/version.h>

#include <cstdlib>
namespace parapet::cli {

std::unique_ptr<Communicator> communicator_from_environment(const std::string& device) {
  return make_communicator(
      world_from_environment([](const char* name) -> const char* { return std::getenv(name); }),
      device);
}

RunDirectory open_run(const std::string& out, const Session& session,
                      const std::map<std::string, std::filesystem::path>& inputs, bool resume,
                      Communicator& communicator) {
  if (communicator.is_main()) {
    RunInfo info;
    info.argv = session.argv;
    info.resolved_toml = session.resolved_toml;
    info.seed = session.common.seed;
    info.inputs = inputs;
    info.versions = library_versions();
    RunDirectory::create(out, info, resume);
  }
  communicator.barrier();
  return RunDirectory(out);
}

std::map<std::string, std::string> library_versions() { return {{"torch", TORCH_VERSION}}; }

}  // namespace parapet::cli
