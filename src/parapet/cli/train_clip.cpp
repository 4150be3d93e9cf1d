// parapet train clip
#include <nlohmann/json.hpp>

#include "parapet/cli/command.h"
#include "parapet/cli/run_support.h"
#include "parapet/methods/contrastive/pretrain.h"

namespace parapet::cli {
namespace {

class TrainClip final : public Command {
 public:
  TrainClip() {
    options_.trainer.lr = 5e-4;
    options_.trainer.weight_decay = 0.1;
    options_.trainer.final_lr = 0.02;
    options_.trainer.warmup_steps = 40;
  }

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
    std::map<std::string, std::filesystem::path> inputs;
    if (!options_.model.empty()) inputs["model"] = options_.model;
    if (!options_.data.empty()) inputs["data"] = options_.data;
    const RunDirectory run =
        open_run(out_, session, inputs, options_.trainer.resume, *communicator);
    const TrainingResult result = train_clip(options_, run, *communicator, session.context);
    return report_training("trained", "pairs", result, run, session);
  }

 private:
  std::string out_;
  TrainClipOptions options_;
};

}  // namespace

CommandEntry train_clip_command() {
  return {
      "train clip", "contrastive training of a CLIP model",
      "From scratch on the sample world, or fine-tuning of a Hugging Face CLIP on captions.jsonl "
      "of a data set directory. Several processes: start with torchrun's variables "
      "(RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).\n\nExamples:\n"
      "  parapet train clip --config recipes/tiny_clip.toml --out out/clip\n"
      "  parapet train clip --model clip-vit-base-patch32 --data D --out out/tuned --mode lora "
      "--lr 1e-4",
      [] { return std::make_unique<TrainClip>(); }};
}

}  // namespace parapet::cli
