// From scores, rule hits and failures to a decision: the policy applied, nothing else. No models
// here, so that it can be replayed over logged scores.
#pragma once
#include <vector>

#include "parapet/guard/decision.h"
#include "parapet/guard/expression.h"
#include "parapet/guard/policy.h"

namespace parapet::guard {

// The combinations of a policy, parsed once.
std::vector<Expression> parse_combinations(const Policy& policy);

// What was found. Actions inside are filled in by decide().
struct Findings {
  std::vector<PartResult> parts;
  std::vector<Score> scores;
  std::vector<RuleHit> rules;  // with the actions of their lists
  std::vector<ScanFailure> failures;
};

class Decider {
 public:
  Decider(const Policy& policy, const std::vector<Expression>& combinations, std::string profile,
          std::string tenant, Side side);
  // Everything but id, versions, timings, modified parts and explanations.
  Decision decide(Findings findings) const;
  // Whether these hits alone already block, in force.
  bool blocks(const std::vector<RuleHit>& rules) const;

  // Fills the actions of a hit from its list's.
  void set_actions(RuleHit& hit, Action action, Mode mode) const;
  // Fills the actions of a failure: the level's fail mode, or a stricter one of a category that the
  // failed signals answer for.
  void set_actions(ScanFailure& failure, FailMode level, Modality modality,
                   const std::vector<std::string>& categories) const;

 private:
  CategoryResult category_result(const std::string& category, Decision& decision) const;
  void apply_score(Score& score, const CategoryRule& rule, CategoryResult& result,
                   Decision& decision) const;
  void apply_combinations(Decision& decision) const;
  std::string reason(const Decision& decision) const;

  const Policy& policy_;
  const std::vector<Expression>& combinations_;
  std::string profile_, tenant_;
  Side side_;
};

}  // namespace parapet::guard
