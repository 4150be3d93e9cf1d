// What training commands share: the run directory, the process group, the run record.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "parapet/cli/command.h"
#include "parapet/training/distributed.h"
#include "parapet/training/run_directory.h"
#include "parapet/training/trainer.h"

namespace parapet::cli {

// The world of torchrun's environment variables, or one process.
std::unique_ptr<Communicator> communicator_from_environment(const std::string& device);

// Creates or (resume) reopens the run directory on rank 0; the others wait for it.
RunDirectory open_run(const std::string& out, const Session& session,
                      const std::map<std::string, std::filesystem::path>& inputs, bool resume,
                      Communicator& communicator);

// Prints what a training run did ("trained 40 steps, 12.0 pairs/s; model in ...", then its
// validation) and returns the fields every training command reports.
nlohmann::json report_training(const std::string& what, const std::string& unit,
                               const TrainingResult& result, const RunDirectory& run,
                               const Session& session);

// "torch" -> version and the like, for run records.
std::map<std::string, std::string> library_versions();

}  // namespace parapet::cli
