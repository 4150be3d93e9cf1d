// parapet eval retrieval
#include <nlohmann/json.hpp>

#include "parapet/cli/eval_support.h"

namespace parapet::cli {
namespace {

class EvalRetrieval final : public Command {
 public:
  void visit(OptionList& list) override { options_.visit(list); }
  void validate(Problems& problems) const override { options_.validate(problems); }

  nlohmann::json run(const Session& session) override {
    // Data first: a mistake there should not cost a model load.
    EvaluationSamples samples = load_evaluation_samples(
        options_, std::filesystem::path(options_.out) / "quarantine.jsonl", session);
    require_samples(samples.quadruplets.size(), options_.data, "quadruplets.jsonl", options_.split);
    return run_retrieval(options_, std::move(samples), session);
  }

 private:
  EvalOptions options_;
};

}  // namespace

CommandEntry eval_retrieval_command() {
  return {"eval retrieval", "retrieval before and after hardening",
          "Safe and unsafe queries against safe and mixed galleries, in both directions, on the "
          "model's own index and on the original model's, with 95 % intervals, per category and "
          "attribute; zero-shot classification when the data set has classes. Writes report.json "
          "and a self-contained report.html.\n\nExamples:\n"
          "  parapet eval retrieval --model out/safe/model --baseline clip --data D --out R\n"
          "  parapet eval retrieval --model clip-vit-base-patch32 --data D --split val --out R",
          [] { return std::make_unique<EvalRetrieval>(); }};
}

}  // namespace parapet::cli
