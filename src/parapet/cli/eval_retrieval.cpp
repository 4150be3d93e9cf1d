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
    LoadOptions load;
    load.check_images = true;
    load.on_bad_sample = parse_on_bad_sample(options_.on_bad_sample);
    load.quarantine = std::filesystem::path(options_.out) / "quarantine.jsonl";
    if (load.on_bad_sample == OnBadSample::kSkip) std::filesystem::create_directories(options_.out);
    load.context = session.context;
    LoadReport loaded;
    auto quadruplets = load_quadruplets(options_.data, options_.split, load, &loaded);
    require_samples(quadruplets.size(), options_.data, "quadruplets.jsonl", options_.split);
    std::vector<Quadruplet> held;
    if (!options_.held_split.empty() && options_.held_split != options_.split)
      held = load_quadruplets(options_.data, options_.held_split, load);
    ZeroShotSet zeroshot;
    const bool has_zeroshot =
        std::filesystem::exists(std::filesystem::path(options_.data) / "zeroshot.json");
    if (has_zeroshot) zeroshot = load_zeroshot(options_.data);

    OpenedEvaluation opened = open_evaluation(options_, session);
    opened.input.quadruplets = std::move(quadruplets);
    opened.input.held_style = std::move(held);
    if (has_zeroshot) opened.input.zeroshot = &zeroshot;
    opened.input.run["quadruplets"] = {{"loaded", loaded.loaded}, {"skipped", loaded.skipped}};
    nlohmann::json result =
        finish_evaluation(evaluate_retrieval(opened.input, session.context), options_.out, session);
    result["skipped"] = loaded.skipped;
    return result;
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
