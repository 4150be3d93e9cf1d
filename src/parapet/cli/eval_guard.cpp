// parapet eval guard
#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/cli/command.h"
#include "parapet/cli/guard_scoring.h"
#include "parapet/cli/guard_support.h"
#include "parapet/cli/run_support.h"
#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/core/strings.h"
#include "parapet/engine/cache/cached_encoder.h"
#include "parapet/engine/encoder/open_encoder.h"
#include "parapet/evaluation/evaluate_guard.h"
#include "parapet/evaluation/report_html.h"
#include "parapet/methods/guard_heads/heads.h"

namespace parapet::cli {
namespace {

// Joint scores of harmful images with the text of a benign sample drawn by `seed`.
void score_broken_pairs(const GuardHeads& heads, const SampleEmbeddings& embedded,
                        GuardEvaluation& evaluation, uint64_t seed) {
  std::vector<int64_t> harmful, benign;
  for (size_t i = 0; i < evaluation.samples.size(); ++i) {
    const GuardTargets t = guard_targets(evaluation.samples[i], evaluation.categories);
    if (t.harm[0] == 1 && t.harm[2] == 1) harmful.push_back(static_cast<int64_t>(i));
    if (t.harm[2] == 0 && t.harm[1] == 0) benign.push_back(static_cast<int64_t>(i));
  }
  if (harmful.empty() || benign.empty()) return;
  Random random = Random::named(seed, "guard.broken_pairs");
  std::vector<int64_t> partners;
  for (size_t i = 0; i < harmful.size(); ++i) partners.push_back(random.pick(benign));
  const at::Tensor images =
      embedded.image.index_select(0, at::tensor(harmful, at::kLong)).contiguous();
  const at::Tensor texts =
      embedded.text.index_select(0, at::tensor(partners, at::kLong)).contiguous();
  const auto count = static_cast<int64_t>(harmful.size());
  const auto scores = heads.score_batch(rows_of(images, 0, count), rows_of(texts, 0, count), count);
  for (size_t i = 0; i < harmful.size(); ++i)
    evaluation.scores[static_cast<size_t>(harmful[i])].broken_pair = scores[i].joint().harm;
}

// What one pair costs when it comes alone: picture decoded and embedded, text embedded, heads.
Table latency_table(Encoder& encoder, const GuardHeads& heads,
                    const std::vector<LabelSample>& samples, const Context& context) {
  constexpr size_t kWarm = 4, kPairs = 100;
  const auto since = [](std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
        .count();
  };
  std::array<std::vector<double>, 4> milliseconds;
  size_t done = 0;
  Context quiet = context;
  quiet.progress = nullptr;
  for (const LabelSample& sample : samples) {
    if (sample.image.empty() || sample.text.empty()) continue;
    if (done == kWarm + kPairs) break;
    const auto start = std::chrono::steady_clock::now();
    const at::Tensor image = encoder.encode_images(std::vector<std::string>{sample.image}, quiet);
    const double image_ms = since(start);
    const at::Tensor text = encoder.encode_texts({sample.text}, quiet);
    const double text_ms = since(start) - image_ms;
    heads.score(rows_of(image, 0, 1), rows_of(text, 0, 1));
    const double all_ms = since(start);
    if (done++ < kWarm) continue;  // kernels are chosen in the first calls
    const std::array<double, 4> parts = {image_ms, text_ms, all_ms - image_ms - text_ms, all_ms};
    for (size_t i = 0; i < parts.size(); ++i) milliseconds[i].push_back(parts[i]);
  }
  Table table{"latency",
              "Latency",
              "One pair at a time on this machine, milliseconds, without the server.",
              {"part", "n", "p50", "p95", "p99"},
              {}};
  const std::array<const char*, 4> names = {"image: decode and embed", "text: embed", "heads",
                                            "all"};
  for (size_t i = 0; i < names.size(); ++i) {
    std::vector<double>& times = milliseconds[i];
    if (times.empty()) return {};
    std::sort(times.begin(), times.end());
    std::vector<Cell> row = {names[i], std::to_string(times.size())};
    for (const double share : {0.5, 0.95, 0.99})
      row.emplace_back(format_number(
          times[static_cast<size_t>(share * static_cast<double>(times.size() - 1) + 0.5)], 2));
    table.rows.push_back(std::move(row));
  }
  return table;
}

std::map<std::string, OperatingPoint> points_of(const GuardHeadsInfo& info) {
  std::map<std::string, OperatingPoint> points;
  for (const auto& [name, t] : info.thresholds)
    points[name] = {t.fpr1, t.best_f1, t.review_low, t.review_high};
  return points;
}

class EvalGuard final : public Command {
 public:
  void visit(OptionList& list) override {
    list.require("model", model_, "run of 'train guard', or the CLIP folder of the heads");
    list.add("heads", heads_, "folder with guard_heads.json; empty = inside --model");
    list.add("compare", compare_,
             "another run of 'train guard', e.g. heads on the hardened model, reported beside");
    list.add("compare-name", compare_name_, "prefix of its metrics");
    list.require("data", data_, "data set directory with labels.jsonl");
    list.add("split", split_, "split to evaluate on");
    list.add("held-split", held_split_,
             "split in an unseen style, reported beside; skipped if absent");
    list.require("out", out_, "folder for report.json and report.html");
    list.add("groups", groups_, "attributes whose groups are compared");
    list.add("resamples", resamples_, "bootstrap resamples for the 95 % intervals, 100..100000");
    list.add("on-bad-sample", on_bad_sample_, "stop, or skip (quarantined, counted)",
             {"stop", "skip"});
    encoder_.visit(list);
  }

  void validate(Problems& problems) const override {
    problems.require(resamples_ >= 100 && resamples_ <= 100000, "--resamples",
                     "must be in 100..100000");
    problems.require(!split_.empty(), "--split", "must not be empty");
    problems.require(!compare_name_.empty(), "--compare-name", "must not be empty");
  }

  nlohmann::json run(const Session& session) override {
    encoder_.device = session.common.device;
    if (encoder_.precision == "auto" && session.common.dtype != "auto")
      encoder_.precision = session.common.dtype;
    const auto samples = load(split_, true, session);
    std::vector<LabelSample> held;
    if (!held_split_.empty() && held_split_ != split_) held = load(held_split_, false, session);

    Report report;
    report.kind = "guard";
    report.title = "Guard: harm in images, texts and pairs";
    measure(model_, heads_, "", samples, held, session, report);
    if (!compare_.empty())
      measure(compare_, "", compare_name_ + ".", samples, held, session, report);
    report.tables.insert(report.tables.begin(), metric_table(report));
    report.run = run_record(record(session));
    write_report(out_, report);
    for (const char* name : {"image.auroc", "text.auroc", "joint.auroc", "implicit.joint.auroc",
                             "contradiction.auroc", "ece"})
      if (const Estimate* e = report.find(name))
        session.print(std::string(name) + " " + format_number(e->value, 4) + " [" +
                      format_number(e->low, 4) + ", " + format_number(e->high, 4) + "]");
    session.print("report: " + (std::filesystem::path(out_) / "report.html").string());
    return {{"out", out_}, {"kind", report.kind}, {"metrics", to_json(report)["metrics"]}};
  }

 private:
  std::vector<LabelSample> load(const std::string& split, bool required, const Session& session) {
    LoadOptions options;
    options.check_images = true;
    options.on_bad_sample = parse_on_bad_sample(on_bad_sample_);
    std::filesystem::create_directories(out_);
    options.quarantine = std::filesystem::path(out_) / ("quarantine-" + split + ".jsonl");
    options.context = session.context;
    auto samples = load_labels(data_, split, options);
    if (required) require_samples(samples.size(), data_, "labels.jsonl", split);
    return samples;
  }

  RunInfo record(const Session& session) const {
    RunInfo info = run_info(session, {{"model", model_}, {"data", data_}});
    if (!heads_.empty()) info.inputs["heads"] = heads_;
    if (!compare_.empty()) info.inputs["compare"] = compare_;
    return info;
  }

  // Metrics of one pair of model and heads on both splits; tables of the first only.
  void measure(const std::string& model, const std::string& heads_folder, const std::string& prefix,
               const std::vector<LabelSample>& samples, const std::vector<LabelSample>& held,
               const Session& session, Report& report) {
    const GuardFiles files = find_guard(model, heads_folder);
    const GuardHeads heads = GuardHeads::load(files.heads);
    heads.check_model(model_content_key(files.model), files.model.string());
    const auto encoder = open_encoder(files.model, encoder_, session.context);
    for (const auto* part : {&samples, &held}) {
      if (part->empty()) continue;
      require_unseen(files.heads, *part, data_, session.context);
      GuardEvaluation evaluation;
      evaluation.samples = *part;
      evaluation.categories = heads.categories();
      evaluation.points = points_of(heads.info());
      evaluation.conformal_alpha = heads.info().conformal_alpha;
      evaluation.group_attributes = groups_;
      evaluation.bootstrap.resamples = resamples_;
      evaluation.bootstrap.seed = static_cast<uint64_t>(session.common.seed);
      const SampleEmbeddings embedded = embed_samples(*encoder, *part, session.context);
      evaluation.scores = score_samples(heads, embedded, *part);
      score_broken_pairs(heads, embedded, evaluation, static_cast<uint64_t>(session.common.seed));
      const bool first = part == &samples;
      report.add(guard_metrics(evaluation, (first ? "" : "held_style.") + prefix));
      if (!first || !prefix.empty()) continue;
      report.tables = guard_tables(evaluation);
      report.plots = guard_plots(evaluation);
      if (Table latency = latency_table(*encoder, heads, *part, session.context);
          !latency.rows.empty())
        report.tables.push_back(std::move(latency));
    }
  }

  // Rows = metrics, columns = the guard, the compared one, and both in the held style.
  Table metric_table(const Report& report) const {
    Table table{"summary", "Measures", "95 % bootstrap or Wilson intervals.", {"measure"}, {}};
    std::vector<std::string> prefixes = {""};
    if (!compare_.empty()) prefixes.push_back(compare_name_ + ".");
    prefixes.emplace_back("held_style.");
    if (!compare_.empty()) prefixes.push_back("held_style." + compare_name_ + ".");
    for (const auto& prefix : prefixes)
      table.columns.push_back(prefix.empty() ? split_ : prefix.substr(0, prefix.size() - 1));
    for (const auto& [name, estimate] : report.metrics) {
      if (name.starts_with("held_style.") ||
          (!compare_.empty() && name.starts_with(compare_name_ + ".")))
        continue;
      std::vector<Cell> row = {name};
      for (const auto& prefix : prefixes) {
        const Estimate* e = report.find(prefix + name);
        if (e != nullptr)
          row.emplace_back(*e);
        else
          row.emplace_back(std::string("-"));
      }
      table.rows.push_back(std::move(row));
    }
    return table;
  }

  std::string model_, heads_, compare_, compare_name_ = "hardened", data_, split_ = "test";
  std::string held_split_ = "test_held_style", out_, on_bad_sample_ = "stop";
  std::vector<std::string> groups_ = {"language", "style"};
  int64_t resamples_ = 1000;
  EncoderOptions encoder_;
};

}  // namespace

CommandEntry eval_guard_command() {
  return {"eval guard", "detection, calibration and fairness of guard heads",
          "Scores a split of labels.jsonl that the heads were not trained or calibrated on (shared "
          "samples are refused) and writes report.json and report.html: detection by image, text "
          "and pair, implicit harm, contradictions, calibration, conformal review band, groups, "
          "with 95 % intervals.\n\nExamples:\n"
          "  parapet eval guard --model out/guard --data W --split test --out out/guard_eval\n"
          "  parapet eval guard --model out/guard --compare out/guard_hardened --data W --out R",
          [] { return std::make_unique<EvalGuard>(); }};
}

}  // namespace parapet::cli
