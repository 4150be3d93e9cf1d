// What commands that train or embed share: the run directory, the process group, the run record,
// and how the common flags reach a method's options.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "parapet/cli/command.h"
#include "parapet/engine/encoder/encoder.h"
#include "parapet/training/distributed.h"
#include "parapet/training/run_directory.h"
#include "parapet/training/trainer.h"

namespace parapet::cli {

// --device, --dtype and --seed for a method that has them among its own options.
template <class Options>
void take_common(const CommonOptions& common, Options& options) {
  options.device = common.device;
  options.dtype = common.dtype;
  options.seed = common.seed;
}

// The same for an encoder; --precision wins over --dtype.
EncoderOptions with_common(const CommonOptions& common, EncoderOptions options);

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

}  // namespace parapet::cli
