// parapet train guard
#include "parapet/methods/guard_heads/train_guard.h"

#include <nlohmann/json.hpp>

#include "parapet/cli/command.h"
#include "parapet/cli/guard_support.h"
#include "parapet/cli/run_support.h"

namespace parapet::cli {
namespace {

class TrainGuard final : public Command {
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
    const TrainedGuard guard = train_guard(options_, run, *communicator, session.context);
    const auto heads = run.path() / "heads";
    if (communicator->is_main()) {
      save_heads(heads, guard.net, guard.info);
      save_sample_keys(heads, guard);
    }
    communicator->barrier();
    auto result = report_training(
        "guard heads on " + std::to_string(guard.train_samples) + " samples, in " + heads.string(),
        "samples", guard.training, run, session);
    result["heads"] = heads.string();
    result["model"] = guard.tuned_trunk ? run.model().string() : options_.model;
    result["categories"] = guard.info.categories;
    return result;
  }

 private:
  std::string out_;
  TrainGuardOptions options_;
};

}  // namespace

CommandEntry train_guard_command() {
  return {
      "train guard", "heads that score harm in images, texts and pairs",
      "Trains small heads on CLIP embeddings from labels.jsonl: harm per category from the image, "
      "the text and the pair, and whether they contradict. Half of split val, by content, "
      "calibrates "
      "the scores and chooses thresholds. Mode heads leaves CLIP as it is; mode finetune also "
      "trains the top layers of both towers, set free step by step, while a contrastive term keeps "
      "CLIP's ability, and writes the tuned model.\n\nExamples:\n"
      "  parapet train guard --model clip-vit-base-patch32 --data D --out out/guard\n"
      "  parapet train guard --config recipes/guard_world.toml --model out/clip/model --data W "
      "--out out/guard\n"
      "  parapet train guard --model M --data D --out R --mode finetune --unfrozen-share 0.5",
      [] { return std::make_unique<TrainGuard>(); }};
}

}  // namespace parapet::cli
