#include "parapet/guard/decide.h"

#include <algorithm>
#include <set>

#include "parapet/core/strings.h"

namespace parapet::guard {
namespace {

void raise(Action& action, Action to) { action = std::max(action, to); }

Action action_of(FailMode fail) {
  return fail == FailMode::kClosed ? Action::kBlock
         : fail == FailMode::kFlag ? Action::kFlag
                                   : Action::kAllow;
}

int severity_of(double score, const std::array<double, 3>& bands) {
  return score >= bands[2] ? 6 : score >= bands[1] ? 4 : score >= bands[0] ? 2 : 0;
}

int severity_of(Action action) {
  return action == Action::kBlock    ? 6
         : action == Action::kModify ? 4
         : action == Action::kFlag   ? 2
                                     : 0;
}

PartResult* part_of(Decision& decision, int part) {
  return part >= 0 && part < static_cast<int>(decision.parts.size())
             ? &decision.parts[static_cast<size_t>(part)]
             : nullptr;
}

void raise_part(Decision& decision, int part, Action action) {
  if (PartResult* result = part_of(decision, part)) raise(result->action, action);
}

std::string show_score(double score) { return format_number(score, 3); }

}  // namespace

std::vector<Expression> parse_combinations(const Policy& policy) {
  std::vector<Expression> expressions;
  for (const auto& combination : policy.combinations)
    expressions.push_back(Expression::parse(combination.when));
  return expressions;
}

Decider::Decider(const Policy& policy, const std::vector<Expression>& combinations,
                 std::string profile, std::string tenant, Side side)
    : policy_(policy),
      combinations_(combinations),
      profile_(std::move(profile)),
      tenant_(std::move(tenant)),
      side_(side) {}

void Decider::set_actions(RuleHit& hit, Action action, Mode mode) const {
  hit.shadow_action = action;
  hit.action = mode == Mode::kShadow ? Action::kAllow : action;
}

void Decider::set_actions(ScanFailure& failure, FailMode level, Modality modality,
                          const std::vector<std::string>& categories) const {
  Action enforced = policy_.mode == Mode::kShadow ? Action::kAllow : action_of(level);
  Action shadow = action_of(level);
  for (const std::string& category : categories) {
    const CategoryRule* rule = policy_.rule(profile_, category, modality, side_);
    if (rule == nullptr) continue;
    raise(shadow, action_of(rule->fail));
    if (rule->mode == Mode::kEnforce) raise(enforced, action_of(rule->fail));
  }
  failure.action = enforced;
  failure.shadow_action = shadow;
}

bool Decider::blocks(const std::vector<RuleHit>& rules) const {
  return std::any_of(rules.begin(), rules.end(),
                     [](const RuleHit& hit) { return hit.action == Action::kBlock; });
}

void Decider::apply_score(Score& score, const CategoryRule& rule, CategoryResult& result,
                          Decision& decision) const {
  Action action = Action::kAllow;
  if (rule.block && score.value >= *rule.block)
    action = rule.action;
  else if (rule.flag && score.value >= *rule.flag)
    action = Action::kFlag;
  const bool enforced = rule.mode == Mode::kEnforce;
  const bool band =
      rule.review && score.value >= (*rule.review)[0] && score.value < (*rule.review)[1];
  const bool acts = rule.flag || rule.block;
  if (enforced && action != Action::kBlock && (band || (score.review && acts)))
    result.review = true;
  // The strongest action decides; of equals the highest score.
  const bool stronger = action > result.shadow_action ||
                        (action == result.shadow_action && score.value >= result.decided_score);
  if (stronger) {
    result.decided_by = score.modality;
    result.decided_score = score.value;
    result.flag_at = rule.flag;
    result.block_at = rule.block;
    result.flag_from = rule.flag ? rule.flag_from : "";
    result.block_from = rule.block ? rule.block_from : "";
    result.part = score.part;
    result.severity = severity_of(score.value, rule.severity);
  }
  raise(result.shadow_action, action);
  if (!enforced) return;
  score.action = action;
  raise(result.action, action);
  raise_part(decision, score.part, action);
  raise_part(decision, score.text_part, action);
}

CategoryResult Decider::category_result(const std::string& category, Decision& decision) const {
  CategoryResult result;
  result.category = category;
  if (const auto* entry = policy_.taxonomy.find(category)) result.parent = entry->parent;
  for (Score& score : decision.scores) {
    if (score.category != category) continue;
    auto& best = result.by_modality[static_cast<size_t>(score.modality)];
    if (!best || score.value > *best) best = score.value;
    if (const auto* rule = policy_.rule(profile_, category, score.modality, side_)) {
      apply_score(score, *rule, result, decision);
    } else if (result.shadow_action == Action::kAllow && score.value >= result.decided_score) {
      result.decided_by = score.modality;
      result.decided_score = score.value;
      result.flag_at = result.block_at = std::nullopt;  // the policy gives this one none
      result.flag_from = result.block_from = "";
      result.part = score.part;
      result.severity = severity_of(score.value, CategoryRule{}.severity);
    }
    result.score = std::max(result.score, score.value);
  }
  for (const RuleHit& hit : decision.rules) {
    if (hit.category != category) continue;
    if (result.shadow_action == Action::kAllow && hit.part >= 0) {  // no score decides
      result.part = hit.part;
      result.decided_by =
          hit.from_ocr ? Modality::kText : decision.parts[static_cast<size_t>(hit.part)].modality;
    }
    result.severity = std::max(result.severity, severity_of(hit.shadow_action));
    raise(result.action, hit.action);
    raise(result.shadow_action, hit.shadow_action);
  }
  return result;
}

void Decider::apply_combinations(Decision& decision) const {
  ExpressionFacts facts;
  facts.side = side_name(side_);
  facts.profile = profile_;
  facts.tenant = tenant_;
  facts.not_scanned = !decision.not_scanned.empty();
  facts.score = [&](std::string_view category,
                    std::optional<Modality> modality) -> std::optional<double> {
    std::optional<double> best;
    for (const Score& score : decision.scores)
      if (score.category == category && (!modality || score.modality == *modality))
        best = std::max(best.value_or(0), score.value);
    return best;
  };
  facts.rule = [&](std::string_view name) {
    return std::any_of(decision.rules.begin(), decision.rules.end(),
                       [&](const RuleHit& hit) { return hit.rule == name; });
  };
  for (size_t i = 0; i < combinations_.size(); ++i) {
    if (combinations_[i].evaluate(facts) != true) continue;
    const CombinationOptions& options = policy_.combinations[i];
    RuleHit hit;
    hit.kind = "combination";
    hit.rule = options.name;
    hit.category = options.category;
    hit.detail = options.when;
    set_actions(hit, options.action, options.mode);
    if (options.review && options.mode == Mode::kEnforce) decision.review = true;
    if (hit.action > Action::kAllow)
      for (PartResult& part : decision.parts) raise(part.action, hit.action);
    decision.rules.push_back(std::move(hit));
  }
}

std::string Decider::reason(const Decision& decision) const {
  std::vector<std::string> why;
  for (const CategoryResult& category : decision.categories) {
    const Action action = std::max(category.action, category.shadow_action);
    const double score = category.decided_score;
    if (action == Action::kAllow || score == 0) continue;
    const bool at_block = category.block_at && score >= *category.block_at;
    const auto& threshold = at_block ? category.block_at : category.flag_at;
    const std::string& name = at_block ? category.block_from : category.flag_from;
    if (!threshold || score < *threshold) continue;
    why.push_back(category.category + " " + show_score(score) + " in the " +
                  std::string(modality_name(category.decided_by)) + " (" +
                  (at_block ? "block" : "flag") + " at " + (name.empty() ? "" : name + ", ") +
                  show_score(*threshold) + ")" +
                  (category.action < category.shadow_action ? ", shadow only" : ""));
  }
  for (const RuleHit& hit : decision.rules)
    why.push_back("rule '" + hit.rule + "' fired" +
                  (hit.action < hit.shadow_action ? ", shadow only" : ""));
  std::set<std::string> reasons;
  for (const ScanFailure& failure : decision.not_scanned) reasons.insert(failure.reason);
  for (const std::string& one : reasons) why.push_back("not scanned: " + one);
  if (decision.review) why.push_back("undecided, for review");
  constexpr size_t kShown = 6;
  if (why.size() > kShown) {
    const std::string more = std::to_string(why.size() - kShown) + " more";
    why.resize(kShown);
    why.push_back(more);
  }
  return why.empty() ? "nothing found" : join(why, "; ");
}

Decision Decider::decide(Findings findings) const {
  Decision decision;
  decision.profile = profile_;
  decision.tenant = tenant_;
  decision.side = side_;
  decision.policy_name = policy_.name;
  decision.policy_version = policy_.version;
  decision.policy_hash = policy_.hash;
  decision.parts = std::move(findings.parts);
  decision.scores = std::move(findings.scores);
  decision.rules = std::move(findings.rules);
  decision.not_scanned = std::move(findings.failures);
  for (const RuleHit& hit : decision.rules) raise_part(decision, hit.part, hit.action);
  apply_combinations(decision);
  std::vector<std::string> categories = policy_.categories();
  const auto add = [&](const std::string& category) {
    if (!category.empty() &&
        std::find(categories.begin(), categories.end(), category) == categories.end())
      categories.push_back(category);
  };
  for (const Score& score : decision.scores) add(score.category);
  for (const RuleHit& hit : decision.rules) add(hit.category);
  for (const std::string& category : categories) {
    decision.categories.push_back(category_result(category, decision));
    const CategoryResult& result = decision.categories.back();
    raise(decision.action, result.action);
    raise(decision.shadow_action, result.shadow_action);
    decision.review = decision.review || result.review;
  }
  for (const ScanFailure& failure : decision.not_scanned) {
    decision.complete = false;
    raise(decision.action, failure.action);
    raise(decision.shadow_action, failure.shadow_action);
    raise_part(decision, failure.part, failure.action);
  }
  raise(decision.shadow_action, decision.action);
  std::stable_sort(
      decision.categories.begin(), decision.categories.end(),
      [](const CategoryResult& a, const CategoryResult& b) { return a.score > b.score; });
  decision.reason = reason(decision);
  return decision;
}

}  // namespace parapet::guard
