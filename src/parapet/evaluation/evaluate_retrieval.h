// The whole before/after evaluation of a CLIP model on quadruplets, as one report. For the command
// `parapet eval retrieval`, for `harden` after training and for the demo.
#pragma once
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/data/dataset.h"
#include "parapet/data/zeroshot.h"
#include "parapet/engine/encoder/encoder.h"
#include "parapet/engine/encoder/quadruplet_embeddings.h"
#include "parapet/evaluation/report.h"
#include "parapet/evaluation/retrieval.h"

namespace parapet {

struct EvaluationInput {
  Encoder* model = nullptr;             // what is evaluated; required
  Encoder* baseline = nullptr;          // the original; without it the model's numbers are "before"
  std::vector<Quadruplet> quadruplets;  // of the test split; required, with images
  std::vector<Quadruplet> held_style;   // of a split in an unseen style; may be empty
  const ZeroShotSet* zeroshot = nullptr;  // may be null
  std::string split = "test";             // of the zero-shot images
  std::string held_split = "test_held_style";
  BootstrapOptions bootstrap;
  int64_t examples = 9;  // shown per direction: first items of each category in turn, unselected
  nlohmann::json run = nlohmann::json::object();
  std::string title = "CLIP before and after hardening";
};

// Metrics named as in retrieval.h under before. and after., zero-shot, preservation; the held style
// under held_style.; tables per category and attribute; examples. UsageError without a model,
// DataError without quadruplets.
Report evaluate_retrieval(const EvaluationInput& input, const Context& context);

// {before|after}.zeroshot.{top1|unsafe_top1}, held_style.*, and a table per category.
Report evaluate_zeroshot_report(const EvaluationInput& input, const Context& context);

// "metric  before  after  change" as aligned lines for a terminal.
std::string before_after_text(const Report& report);

}  // namespace parapet
