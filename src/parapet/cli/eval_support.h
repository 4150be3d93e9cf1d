// What the eval commands share: models, data and the run record.
#pragma once
#include <memory>
#include <string>

#include "parapet/cli/command.h"
#include "parapet/evaluation/evaluate_retrieval.h"

namespace parapet::cli {

struct EvalOptions {
  std::string model;     // Hugging Face CLIP folder under test
  std::string baseline;  // the original; empty = report the model alone
  std::string data;      // data set folder
  std::string split = "test";
  std::string held_split = "test_held_style";
  std::string out;
  int64_t resamples = 1000;
  int64_t examples = 9;
  std::string on_bad_sample = "stop";
  EncoderOptions encoder;
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

// Opens encoders and fills everything but the samples. The encoders live as long as the result.
struct OpenedEvaluation {
  std::unique_ptr<Encoder> model, baseline;
  EvaluationInput input;
};
OpenedEvaluation open_evaluation(EvalOptions& options, const Session& session);

// {"report": path, "metrics": {...}} after writing report.json and report.html to `out`; prints the
// before/after table.
nlohmann::json finish_evaluation(const Report& report, const std::string& out,
                                 const Session& session);

}  // namespace parapet::cli
