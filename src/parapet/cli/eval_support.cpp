#include "parapet/cli/eval_support.h"

#include <nlohmann/json.hpp>

#include "parapet/cli/run_support.h"
#include "parapet/core/run_record.h"

namespace parapet::cli {

void EvalOptions::visit(OptionList& list) {
  list.require("model", model, "Hugging Face CLIP folder to evaluate");
  list.add("baseline", baseline, "the original model, for before and after");
  list.require("data", data, "data set folder");
  list.add("split", split, "split to evaluate on");
  list.add("held-split", held_split,
           "split in an unseen style, reported beside; skipped if absent");
  list.require("out", out, "folder for report.json and report.html");
  list.add("resamples", resamples, "bootstrap resamples for the 95 % intervals, 100..100000");
  list.add("examples", examples, "examples shown per direction, 0..200");
  list.add("on-bad-sample", on_bad_sample, "stop, or skip (quarantined with reasons, counted)",
           {"stop", "skip"});
  encoder.visit(list);
}

void EvalOptions::validate(Problems& problems) const {
  problems.require(resamples >= 100 && resamples <= 100000, "--resamples",
                   "must be in 100..100000");
  problems.require(examples >= 0 && examples <= 200, "--examples", "must be in 0..200");
  problems.require(!split.empty(), "--split", "must not be empty");
  problems.require(encoder.adapter.empty() || !baseline.empty(), "--adapter",
                   "needs --baseline: it is applied to --model only");
}

OpenedEvaluation open_evaluation(EvalOptions& options, const Session& session) {
  EncoderOptions encoder = options.encoder;
  encoder.device = session.common.device;
  if (encoder.precision == "auto" && session.common.dtype != "auto")
    encoder.precision = session.common.dtype;
  OpenedEvaluation opened;
  opened.model = open_encoder(options.model, encoder, session.context);
  RunInfo info;
  info.argv = session.argv;
  info.resolved_toml = session.resolved_toml;
  info.seed = session.common.seed;
  info.versions = library_versions();
  info.inputs = {{"model", options.model}, {"data", options.data}};
  if (!options.baseline.empty()) {
    EncoderOptions plain = encoder;
    plain.adapter.clear();
    opened.baseline = open_encoder(options.baseline, plain, session.context);
    info.inputs["baseline"] = options.baseline;
  }
  opened.input.model = opened.model.get();
  opened.input.baseline = opened.baseline.get();
  opened.input.split = options.split;
  opened.input.held_split = options.held_split;
  opened.input.bootstrap.resamples = options.resamples;
  opened.input.bootstrap.seed = static_cast<uint64_t>(session.common.seed);
  opened.input.examples = options.examples;
  opened.input.run = run_record(info);
  if (options.baseline.empty()) opened.input.title = "CLIP evaluation";
  return opened;
}

nlohmann::json finish_evaluation(const Report& report, const std::string& out,
                                 const Session& session) {
  write_report(out, report);
  session.print(before_after_text(report));
  session.print("report: " + (std::filesystem::path(out) / "report.html").string());
  return {{"out", out}, {"kind", report.kind}, {"metrics", to_json(report)["metrics"]}};
}

}  // namespace parapet::cli
