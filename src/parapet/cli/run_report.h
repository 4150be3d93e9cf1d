// The report that a training command leaves in its run directory when it ends.
#pragma once
#include <string>

#include "parapet/cli/eval_support.h"
#include "parapet/training/run_directory.h"
#include "parapet/training/trainer.h"

namespace parapet::cli {

struct RunReportOptions {
  bool report = true;
  std::string on_bad_sample = "stop";
  std::string reference_cache;
  std::string original;  // the model that training began with; empty = from scratch
  std::string data;      // data set directory; empty, or one without quadruplets = no retrieval
};

class RunReport {
 public:
  // Loads the samples, so that a mistake in them does not cost a training run: split "test" of the
  // quadruplets, or "val" where there is no test split. Rank 0 only; the others write nothing.
  RunReport(const RunReportOptions& options, const RunDirectory& run, bool is_main,
            const Session& session);

  // After training: report.json and report.html in the run directory, loss curves included.
  // Retrieval before and after where there are quadruplets; else the last validation, and the
  // reason is logged. Adds "report" (the page) and "report_split" (null without retrieval) to
  // `result`; nothing when the report is off.
  void write(const TrainingResult& training, const Session& session, nlohmann::json& result);

 private:
  bool wanted_;
  EvalOptions options_;
  EvaluationSamples samples_;
  std::string reason_;  // why there is no retrieval; empty = there is
};

}  // namespace parapet::cli
