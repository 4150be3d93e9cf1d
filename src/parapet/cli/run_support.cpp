#include "parapet/cli/run_support.h"

#include <torch/version.h>

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
    RunDirectory::create(out, run_info(session, inputs), resume);
  }
  communicator.barrier();
  return RunDirectory(out);
}

std::map<std::string, std::string> library_versions() { return {{"torch", TORCH_VERSION}}; }

}  // namespace parapet::cli
