// parapet harden safe-clip
#include <nlohmann/json.hpp>

#include "parapet/cli/run_report.h"
#include "parapet/cli/run_support.h"
#include "parapet/methods/safe_clip/harden.h"

namespace parapet::cli {
namespace {

class HardenSafeClip final : public Command {
 public:
  void visit(OptionList& list) override {
    list.require("out", out_, "run directory to write");
    options_.visit(list);
    list.add("report", report_,
             "measure retrieval at the end (split test, else val) and write report.{json,html}");
  }
  void validate(Problems& problems) const override { options_.validate(problems); }

  nlohmann::json run(const Session& session) override {
    take_common(session.common, options_);
    const auto communicator = communicator_from_environment(session.common.device);
    const RunDirectory run =
        open_run(out_, session, {{"model", options_.model}, {"data", options_.data}},
                 options_.trainer.resume, *communicator);
    RunReport report(
        {report_, options_.on_bad_sample, options_.reference_cache, options_.model, options_.data},
        run, communicator->is_main(), session);
    const SafeClipResult result = harden_safe_clip(options_, run, *communicator, session.context);
    nlohmann::json json = report_training("hardened with " + options_.objective.name, "quadruplets",
                                          result.training, run, session);
    json["quadruplets"] = result.train_quadruplets;
    json["skipped"] = result.skipped;
    report.write(result.training, session, json);
    return json;
  }

 private:
  std::string out_;
  bool report_ = true;
  SafeClipOptions options_;
};

}  // namespace

CommandEntry harden_safe_clip_command() {
  return {"harden safe-clip",
          "fine-tune a CLIP model so that unsafe inputs land on safe neighbours",
          "Needs quadruplets (safe text, unsafe text, safe image, unsafe image). Writes a PEFT "
          "adapter (adapter/), the merged Hugging Face model (model/) and a report of retrieval "
          "before and after (report.html).\n\nExamples:\n"
          "  parapet harden safe-clip --model clip-vit-large-patch14 --data visu --out out/hard\n"
          "  parapet harden safe-clip --model M --data D --out R --objective safe_clip\n"
          "  parapet harden safe-clip --config recipes/safe_clip_published.toml --model M --data D "
          "--out R",
          [] { return std::make_unique<HardenSafeClip>(); }};
}

}  // namespace parapet::cli
