#include "parapet/cli/eval_support.h"

#include <nlohmann/json.hpp>

#include "parapet/cli/run_support.h"
#include "parapet/core/run_record.h"
#include "parapet/data/bad_images.h"
#include "parapet/engine/cache/cached_encoder.h"
#include "parapet/engine/encoder/model_stamp.h"
#include "parapet/engine/encoder/open_encoder.h"
#include "parapet/evaluation/report_html.h"

namespace parapet::cli {

namespace fs = std::filesystem;

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
  list.add("reference-cache", reference_cache,
           "where the original model's embeddings are kept, by content hash; empty = nowhere");
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

EvaluationSamples load_evaluation_samples(const EvalOptions& options, const fs::path& quarantine,
                                          const Session& session) {
  LoadOptions load;
  load.check_images = true;
  load.on_bad_sample = parse_on_bad_sample(options.on_bad_sample);
  load.quarantine = quarantine;
  load.context = session.context;
  const bool skip = load.on_bad_sample == OnBadSample::kSkip;
  if (skip) fs::create_directories(quarantine.parent_path());
  EvaluationSamples samples;
  const auto read = [&](const std::string& split) {
    LoadReport report;
    auto items = load_quadruplets(options.data, split, load, &report);
    samples.skipped += report.skipped;
    if (skip)
      samples.skipped +=
          drop_undecodable(items, load.quarantine, report.skipped, {}, session.context);
    return items;
  };
  samples.quadruplets = read(options.split);
  if (!options.held_split.empty() && options.held_split != options.split) {
    load.quarantine.replace_filename(quarantine.stem().string() + "-" + options.held_split +
                                     quarantine.extension().string());
    samples.held_style = read(options.held_split);
  }
  if (fs::exists(fs::path(options.data) / "zeroshot.json"))
    samples.zeroshot = load_zeroshot(options.data);
  return samples;
}

OpenedEvaluation open_evaluation(const EvalOptions& options, const Session& session) {
  const EncoderOptions encoder = with_common(session.common, options.encoder);
  // The original is asked the same questions for every model tuned from it.
  const auto open_original = [&](const std::string& model) {
    EncoderOptions plain = encoder;
    plain.adapter.clear();
    const ModelStamp stamp({model});
    auto inner = open_encoder(model, plain, session.context);
    if (options.reference_cache.empty()) return inner;
    const std::string key = encoder_key(model, plain);
    stamp.require_unchanged();  // the key is of what was loaded
    return cached_encoder(std::move(inner), key, options.reference_cache);
  };
  OpenedEvaluation opened;
  std::map<std::string, fs::path> inputs = {{"model", options.model}, {"data", options.data}};
  if (options.baseline.empty()) {
    opened.model = open_original(options.model);
  } else {
    opened.model = open_encoder(options.model, encoder, session.context);
    opened.baseline = open_original(options.baseline);
    inputs["baseline"] = options.baseline;
  }
  opened.input.model = opened.model.get();
  opened.input.baseline = opened.baseline.get();
  opened.input.split = options.split;
  opened.input.held_split = options.held_split;
  opened.input.bootstrap.resamples = options.resamples;
  opened.input.bootstrap.seed = static_cast<uint64_t>(session.common.seed);
  opened.input.examples = options.examples;
  opened.input.run = run_record(run_info(session, std::move(inputs)));
  if (options.baseline.empty()) opened.input.title = "CLIP evaluation";
  return opened;
}

nlohmann::json run_retrieval(const EvalOptions& options, EvaluationSamples samples,
                             const Session& session) {
  OpenedEvaluation opened = open_evaluation(options, session);
  opened.input.run["quadruplets"] = {{"loaded", samples.quadruplets.size()},
                                     {"skipped", samples.skipped}};
  opened.input.quadruplets = std::move(samples.quadruplets);
  opened.input.held_style = std::move(samples.held_style);
  if (samples.zeroshot) opened.input.zeroshot = &*samples.zeroshot;
  nlohmann::json result =
      finish_evaluation(evaluate_retrieval(opened.input, session.context), options.out, session);
  result["skipped"] = samples.skipped;
  return result;
}

nlohmann::json finish_evaluation(const Report& report, const std::string& out,
                                 const Session& session) {
  write_report(out, report);
  session.print(before_after_text(report));
  session.print("report: " + (fs::path(out) / "report.html").string());
  return {{"out", out}, {"kind", report.kind}, {"metrics", to_json(report)["metrics"]}};
}

}  // namespace parapet::cli
