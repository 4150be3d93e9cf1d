// What the eval commands share: models, data and the run record.
#pragma once
#include <memory>
#include <optional>
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
  std::string reference_cache = ".cache/reference";  // the original's embeddings; empty = none
  EncoderOptions encoder;
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

// What retrieval is measured on.
struct EvaluationSamples {
  std::vector<Quadruplet> quadruplets;  // empty when the split has none
  std::vector<Quadruplet> held_style;
  std::optional<ZeroShotSet> zeroshot;  // where the data set has zeroshot.json
  int64_t skipped = 0;                  // bad samples left out, reasons in `quarantine`
};
// Reads quadruplets.jsonl and zeroshot.json of options.data; checks that the images exist and, with
// --on-bad-sample skip, that they decode.
EvaluationSamples load_evaluation_samples(const EvalOptions& options,
                                          const std::filesystem::path& quarantine,
                                          const Session& session);

// Opens encoders and fills everything but the samples. The encoders live as long as the result.
struct OpenedEvaluation {
  std::unique_ptr<Encoder> model, baseline;
  EvaluationInput input;
};
OpenedEvaluation open_evaluation(const EvalOptions& options, const Session& session);

// The whole of `eval retrieval` once the samples are there. Returns what finish_evaluation does.
nlohmann::json run_retrieval(const EvalOptions& options, EvaluationSamples samples,
                             const Session& session);

// {"out": path, "kind": ..., "metrics": {...}} after writing report.json and report.html to `out`;
// prints the before/after table.
nlohmann::json finish_evaluation(const Report& report, const std::string& out,
                                 const Session& session);

}  // namespace parapet::cli
