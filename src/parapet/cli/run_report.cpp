#include "parapet/cli/run_report.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/core/strings.h"
#include "parapet/evaluation/report_html.h"

namespace parapet::cli {
namespace {

namespace fs = std::filesystem;

// What a run without quadruplets can say: where its last validation stood.
Report training_report(const TrainingResult& training, const EvalOptions& options,
                       const std::string& reason, const Session& session) {
  Report report;
  report.kind = "training";
  report.title = "Training run";
  std::map<std::string, fs::path> inputs;
  if (fs::exists(options.data)) inputs["data"] = options.data;
  if (!options.baseline.empty()) inputs["baseline"] = options.baseline;
  report.run = run_record(run_info(session, std::move(inputs)));
  report.run["retrieval_skipped"] = reason;
  Table table{"validation",
              "Last validation",
              "After step " + std::to_string(training.steps) + ".",
              {"measure", "value"},
              {}};
  for (const auto& [name, value] : training.last_validation) {
    report.metrics.emplace_back("validation." + name,
                                Estimate{value, std::nan(""), std::nan(""), 1});
    table.rows.push_back({name, format_number(value, 4)});
  }
  if (!table.rows.empty()) report.tables.push_back(std::move(table));
  return report;
}

}  // namespace

RunReport::RunReport(const RunReportOptions& options, const RunDirectory& run, bool is_main,
                     const Session& session)
    : wanted_(options.report && is_main) {
  if (!wanted_) return;
  options_.model = run.model().string();
  options_.baseline = options.original;
  options_.data = options.data;
  options_.out = run.path().string();
  options_.on_bad_sample = options.on_bad_sample;
  options_.reference_cache = options.reference_cache;
  if (options.data.empty()) {
    reason_ = "no data set directory with quadruplets was given";
  } else if (!fs::exists(fs::path(options.data) / "quadruplets.jsonl")) {
    reason_ = options.data + " has no quadruplets.jsonl";
  } else {
    for (const char* split : {"test", "val"}) {
      options_.split = split;
      const std::string file = std::string("quarantine-report-") + split + ".jsonl";
      samples_ = load_evaluation_samples(options_, run.path() / file, session);
      if (!samples_.quadruplets.empty()) return;
    }
    reason_ = options.data + " has quadruplets of neither split \"test\" nor \"val\"";
  }
}

void RunReport::write(const TrainingResult& training, const Session& session,
                      nlohmann::json& result) {
  if (!wanted_) return;
  const fs::path out = options_.out;
  result["report"] = (out / "report.html").string();
  result["report_split"] = nullptr;
  if (reason_.empty()) {
    result["report_split"] = options_.split;
    session.print("retrieval on split " + options_.split + ":");
    run_retrieval(options_, std::move(samples_), session);
    return;
  }
  session.context.info("report without retrieval: " + reason_);
  write_report(out, training_report(training, options_, reason_, session));
  session.print("report: " + (out / "report.html").string());
}

}  // namespace parapet::cli
