// parapet eval zeroshot
#include <nlohmann/json.hpp>

#include "parapet/cli/eval_support.h"

namespace parapet::cli {
namespace {

class EvalZeroShot final : public Command {
 public:
  void visit(OptionList& list) override { options_.visit(list); }
  void validate(Problems& problems) const override { options_.validate(problems); }

  nlohmann::json run(const Session& session) override {
    const ZeroShotSet set = load_zeroshot(options_.data);
    OpenedEvaluation opened = open_evaluation(options_, session);
    opened.input.zeroshot = &set;
    return finish_evaluation(evaluate_zeroshot_report(opened.input, session.context), options_.out,
                             session);
  }

 private:
  EvalOptions options_;
};

}  // namespace

CommandEntry eval_zeroshot_command() {
  return {"eval zeroshot", "zero-shot classification with prompt ensembles",
          "Classes, templates and images from the data set's zeroshot.json. Safe objects are named "
          "among the safe classes, unsafe ones among the unsafe classes.\n\nExample:\n"
          "  parapet eval zeroshot --model out/safe/model --baseline clip --data D --out R",
          [] { return std::make_unique<EvalZeroShot>(); }};
}

}  // namespace parapet::cli
