// parapet train clip
#include <nlohmann/json.hpp>

#include "parapet/cli/run_report.h"
#include "parapet/cli/run_support.h"
#include "parapet/data/shard_stream.h"
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
    list.add("report", report_, "write report.{json,html} at the end");
    list.add("report-data", report_data_,
             "data set whose quadruplets the report measures retrieval on; empty = --data");
    list.add("reference-cache", reference_cache_,
             "where embeddings of an original model are kept, by content hash; empty = nowhere");
  }
  void validate(Problems& problems) const override { options_.validate(problems); }

  nlohmann::json run(const Session& session) override {
    take_common(session.common, options_);
    const auto communicator = communicator_from_environment(session.common.device);
    std::map<std::string, std::filesystem::path> inputs;
    if (!options_.model.empty()) inputs["model"] = options_.model;
    add_data(inputs);
    const RunDirectory run =
        open_run(out_, session, inputs, options_.trainer.resume, *communicator);
    RunReport report({report_, options_.on_bad_sample, reference_cache_, options_.model,
                      report_data_.empty() ? options_.data : report_data_},
                     run, communicator->is_main(), session);
    const TrainClipResult result = train_clip(options_, run, *communicator, session.context);
    nlohmann::json json = report_training("trained", "pairs", result.training, run, session);
    json["captions"] = result.captions;
    json["skipped"] = result.skipped;
    report.write(result.training, session, json);
    return json;
  }

 private:
  // A folder or file, or each shard of a pattern.
  void add_data(std::map<std::string, std::filesystem::path>& inputs) const {
    for (const std::string& value : {options_.data, options_.val_shards}) {
      if (value.empty()) continue;
      if (!names_shards(value) || std::filesystem::exists(value)) {
        inputs[value == options_.data ? "data" : "val_shards"] = value;
        continue;
      }
      for (const auto& shard : list_shards(value))
        inputs["shard " + std::filesystem::path(shard).filename().string()] = shard;
    }
  }

  std::string out_, report_data_, reference_cache_ = ".cache/reference";
  bool report_ = true;
  TrainClipOptions options_;
};

}  // namespace

CommandEntry train_clip_command() {
  return {
      "train clip", "contrastive training of a CLIP model",
      "From scratch on the sample world, or fine-tuning of a Hugging Face CLIP on captions.jsonl "
      "of a data set directory or on webdataset shards, which are streamed. The run directory "
      "ends with a report (report.html). Several processes: start with torchrun's variables "
      "(RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).\n\nExamples:\n"
      "  parapet train clip --config recipes/tiny_clip.toml --out out/clip\n"
      "  parapet train clip --model clip-vit-base-patch32 --data D --out out/tuned --mode lora "
      "--lr 1e-4\n"
      "  parapet train clip --model M --data 'laion-{00000..00099}.tar' --out out/tuned "
      "--on-bad-sample skip",
      [] { return std::make_unique<TrainClip>(); }};
}

}  // namespace parapet::cli
