// A policy with everything it names loaded: what one request runs through. Never changes, so that
// requests see one policy whole; a reload makes another. Internal.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/engine/encoder/model_store.h"
#include "parapet/guard/clip_signal.h"
#include "parapet/guard/decide.h"
#include "parapet/guard/fetch.h"
#include "parapet/guard/guard_options.h"
#include "parapet/guard/hash_lists.h"
#include "parapet/guard/ocr.h"
#include "parapet/guard/prepare.h"
#include "parapet/guard/redact.h"
#include "parapet/guard/rules.h"
#include "parapet/guard/safe_counterpart.h"

namespace parapet::guard {

class Pipeline {
 public:
  Pipeline(Policy policy, const GuardOptions& options, ModelStore& models, const Context& context);

  Decision decide(const GuardRequest& request) const;
  Readiness readiness(std::chrono::milliseconds patience) const;
  const Policy& policy() const { return policy_; }
  const std::vector<ModelVersion>& models() const { return versions_; }
  const ClipSignal* clip() const { return clip_.get(); }

 private:
  struct Run;  // one request on its way
  struct Level {
    std::shared_ptr<Signal> signal;
    std::string name;  // clip, classifier, signal
    FailMode fail;
  };
  // pipeline_load.cpp
  void load_signals(const GuardOptions& options, ModelStore& models, const Context& context);
  void load_safe_counterpart(const GuardOptions& options, ModelStore& models,
                             const Context& context);
  void check_named_thresholds() const;
  // pipeline.cpp
  // Categories that some level answers for when it looks at a part of this kind.
  std::vector<std::string> categories_of(Modality modality) const;
  void run_levels(Run& run) const;
  void run_signals(Run& run, const std::vector<PreparedPart>& parts) const;
  void run_signal(Run& run, const Level& level, const std::vector<PreparedPart>& parts) const;
  void run_ocr(Run& run) const;
  void check_scanned(Run& run) const;
  // pipeline_lists.cpp
  void run_hashes(Run& run) const;
  void run_hashes(Run& run, const PreparedPart& part) const;
  void add_hash_hits(Run& run, int part, const std::vector<HashHit>& hits,
                     const std::string& view = "") const;
  void run_rules(Run& run, const std::vector<PreparedPart>& texts) const;
  // pipeline_output.cpp
  void modify(const Run& run, Decision& decision) const;
  void modify_image(const Run& run, const PreparedPart& part, Decision& decision) const;
  std::vector<Box> drawn_text(const Run& run, const PreparedPart& part, const Image& image,
                              const Decision& decision) const;
  void modify_text(const PreparedPart& part, Decision& decision) const;
  bool replace_or_redirect(const PreparedPart& part, const std::string& how,
                           Decision& decision) const;
  void explain(const Run& run, Decision& decision) const;
  void explain_category(const Run& run, const CategoryResult& category, Decision& decision) const;

  Policy policy_;
  std::vector<Expression> combinations_;
  Fetcher fetcher_;
  HashLists hashes_;
  RuleSet rules_;
  std::vector<Level> levels_;
  std::shared_ptr<ClipSignal> clip_;
  std::unique_ptr<Ocr> ocr_;
  std::unique_ptr<SafeCounterpart> counterpart_;
  std::vector<ModelVersion> versions_;
  int64_t scale_for_ = 0;
};

// One request on its way through the levels.
struct Pipeline::Run {
  const GuardRequest& request;
  Decider decider;
  std::optional<Clock::time_point> deadline;
  Prepared prepared;
  Findings findings;
  std::vector<LevelTiming> timings;
  std::vector<std::vector<std::string>> scanned_by;  // per part
  std::vector<std::pair<int, OcrText>> ocr;          // per image that was read
  std::string stopped_at;

  bool late() const { return deadline && Clock::now() >= *deadline; }
  void fail(int part, const std::string& level, const std::string& reason,
            const std::string& detail, FailMode mode, Modality modality,
            const std::vector<std::string>& categories = {});
  void scanned(int part, const std::string& level);
};

// Adds a level's time when it ends.
class LevelTimer {
 public:
  LevelTimer(std::vector<LevelTiming>& timings, std::string level)
      : timings_(timings), level_(std::move(level)) {}
  ~LevelTimer() {
    const std::chrono::duration<double, std::milli> spent = Clock::now() - start_;
    for (LevelTiming& timing : timings_)
      if (timing.level == level_) {
        timing.milliseconds += spent.count();
        return;
      }
    timings_.push_back({level_, spent.count()});
  }
  LevelTimer(const LevelTimer&) = delete;
  LevelTimer& operator=(const LevelTimer&) = delete;

 private:
  std::vector<LevelTiming>& timings_;
  std::string level_;
  Clock::time_point start_ = Clock::now();
};

}  // namespace parapet::guard
