#include "parapet/cli/run_support.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "parapet/core/memory.h"
#include "parapet/core/strings.h"

namespace parapet::cli {

EncoderOptions with_common(const CommonOptions& common, EncoderOptions options) {
  options.device = common.device;
  options.threads = common.threads;
  if (options.precision == "auto" && common.dtype != "auto") options.precision = common.dtype;
  return options;
}

std::unique_ptr<Communicator> communicator_from_environment(const std::string& device) {
  return make_communicator(
      world_from_environment([](const char* name) -> const char* { return std::getenv(name); }),
      device);
}

RunDirectory open_run(const std::string& out, const Session& session,
                      const std::map<std::string, std::filesystem::path>& inputs, bool resume,
                      Communicator& communicator) {
  keep_freed_memory();
  if (communicator.is_main()) {
    RunDirectory::create(out, run_info(session, inputs), resume);
  }
  communicator.meet(session.context);  // hashing large inputs takes longer than a collective may
  return RunDirectory(out);
}

nlohmann::json report_training(const std::string& what, const std::string& unit,
                               const TrainingResult& result, const RunDirectory& run,
                               const Session& session) {
  session.print(what + ": " + std::to_string(result.steps) + " steps, " +
                format_number(result.samples_per_second, 1) + " " + unit + "/s; model in " +
                run.model().string());
  for (const auto& [name, value] : result.last_validation)
    session.print("  validation " + name + " " + format_number(value, 4));
  nlohmann::json json = {{"run", run.path().string()},
                         {"model", run.model().string()},
                         {"steps", result.steps},
                         {"seconds", result.seconds},
                         {"stopped_early", result.stopped_early},
                         {"samples_per_second", result.samples_per_second},
                         {"validation", result.last_validation}};
  if (result.memory) json["memory"] = result.memory->to_json();
  if (result.peak_memory >= 0) json["peak_resident_bytes"] = result.peak_memory;
  return json;
}

}  // namespace parapet::cli
