// Trains the toy task in a process of its own, so that tests can kill it, fill its disk and run
// several as ranks. Usage: parapet_training_toy RUN_DIR [name=value ...]; exit code as the command.
#include <sys/resource.h>
#include <unistd.h>
#include <csignal>

#include <ATen/Parallel.h>

#include <cstdio>
#include <cstdlib>
#include <functional>

#include "parapet/core/error.h"
#include "parapet/training/distributed.h"
#include "parapet/training/trainer.h"
#include "toy_task.h"

namespace parapet::test {
namespace {

struct ProgramOptions {
  ToyOptions toy;
  int64_t kill_at = -1;   // SIGKILL in the middle of this step
  int64_t limit_at = -1;  // from this step on no file may grow beyond a few bytes
  int64_t timeout = 60;
};

class ProgramTask final : public ToyTask {
 public:
  explicit ProgramTask(const ProgramOptions& options) : ToyTask(options.toy), options_(options) {}

  using ToyTask::loss;
  StepLoss loss(ToyBatch& batch, const StepInfo& info) override {
    StepLoss result = ToyTask::loss(batch, info);
    if (info.step == options_.kill_at) ::kill(::getpid(), SIGKILL);
    if (info.step == options_.limit_at) {
      ::signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{300, 300};
      ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    return result;
  }

 private:
  ProgramOptions options_;
};

void set(const std::string& argument, TrainerOptions& training, ProgramOptions& program) {
  const size_t equal = argument.find('=');
  const std::string name = argument.substr(0, equal), value = argument.substr(equal + 1);
  const std::map<std::string, int64_t*> own = {{"batch", &program.toy.batch},
                                               {"nan-at", &program.toy.nan_at},
                                               {"kill-at", &program.kill_at},
                                               {"limit-at", &program.limit_at},
                                               {"timeout", &program.timeout}};
  if (const auto found = own.find(name); found != own.end()) {
    *found->second = std::stoll(value);
  } else if (name == "dropout") {
    program.toy.dropout = std::stod(value);
  } else {
    OptionList list;
    training.visit(list);
    const Option* option = list.find(name);
    if (option == nullptr) throw UsageError("unknown option " + name);
    set_option(*option, value);
  }
}

int run(int argc, char** argv) {
  TrainerOptions training;
  ProgramOptions program;
  training.log_every = 1;
  for (int i = 2; i < argc; ++i) set(argv[i], training, program);
  at::set_num_threads(1);
  at::manual_seed(7);
  WorldInfo info = world_from_environment([](const char* name) { return std::getenv(name); });
  info.timeout_seconds = program.timeout;
  const auto world = make_communicator(info, "cpu");
  ProgramTask task(program);
  const auto result = train(task, training, argv[1], *world, Context());
  std::printf("rank %d steps %d stopped_early %d\n", static_cast<int>(world->rank()),
              static_cast<int>(result.steps), result.stopped_early ? 1 : 0);
  return 0;
}

}  // namespace
}  // namespace parapet::test

int main(int argc, char** argv) {
  try {
    return parapet::test::run(argc, argv);
  } catch (const parapet::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.exit_code();
  }
}
