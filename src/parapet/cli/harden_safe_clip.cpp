// parapet harden safe-clip
#include <nlohmann/json.hpp>

#include "parapet/cli/command.h"
#include "parapet/cli/run_support.h"
#include "parapet/core/strings.h"
#include "parapet/methods/safe_clip/harden.h"

namespace parapet::cli {
namespace {

class HardenSafeClip final : public Command {
 public:
  void visit(OptionList& list) override {
    list.require("out", out_, "run directory to write");
    options_.visit(list);
  }
  void validate(Problems& problems) const override { options_.validate(problems); }

  nlohmann::json run(const Session& session) override {
    options_.device = session.common.device;
    options_.dtype = session.common.dtype;
    options_.seed = session.common.seed;
    const auto communicator = communicator_from_environment(session.common.device);
    const RunDirectory run =
        open_run(out_, session, {{"model", options_.model}, {"data", options_.data}},
                 options_.trainer.resume, *communicator);
    const SafeClipResult result = harden_safe_clip(options_, run, *communicator, session.context);
    const TrainingResult& training = result.training;
    session.print("hardened with " + options_.objective.name + ": " +
                  std::to_string(training.steps) + " steps, " +
                  format_number(training.samples_per_second, 1) + " quadruplets/s; model in " +
                  run.model().string());
    for (const auto& [name, value] : training.last_validation)
      session.print("  validation " + name + " " + format_number(value, 4));
    return {{"run", out_},
            {"model", run.model().string()},
            {"quadruplets", result.train_quadruplets},
            {"skipped", result.skipped},
            {"steps", training.steps},
            {"seconds", training.seconds},
            {"stopped_early", training.stopped_early},
            {"samples_per_second", training.samples_per_second},
            {"validation", training.last_validation}};
  }

 private:
  std::string out_;
  SafeClipOptions options_;
};

}  // namespace

CommandEntry harden_safe_clip_command() {
  return {"harden safe-clip",
          "fine-tune a CLIP model so that unsafe inputs land on safe neighbours",
          "Needs quadruplets (safe text, unsafe text, safe image, unsafe image). Writes a PEFT "
          "adapter (adapter/) and the merged Hugging Face model (model/).\n\nExamples:\n"
          "  parapet harden safe-clip --model clip-vit-large-patch14 --data visu --out out/hard\n"
          "  parapet harden safe-clip --model M --data D --out R --objective safe_clip\n"
          "  parapet harden safe-clip --config recipes/safe_clip_published.toml --model M --data D "
          "--out R\n"
          "Then: parapet eval retrieval --model out/hard/model --baseline M --data D --out report",
          [] { return std::make_unique<HardenSafeClip>(); }};
}

}  // namespace parapet::cli
