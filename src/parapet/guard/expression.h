// The `when` of a combination rule: comparisons of scores joined by and, or, not.
//
//   weapon.image >= 0.5 and (violence >= 0.3 or rule("threats")) and side == "input"
//
// A score that no signal gave is unknown; what depends on it is unknown (Kleene), and an unknown
// rule does not fire.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/guard/request.h"

namespace parapet::guard {

// What an expression may ask.
struct ExpressionFacts {
  // Empty modality = the highest of the three.
  std::function<std::optional<double>(std::string_view category, std::optional<Modality>)> score;
  std::function<bool(std::string_view rule)> rule;  // a word, regex or hash list fired
  std::string_view side, profile, tenant;
  bool not_scanned = false;  // some part was not scanned in full
};

class Expression {
 public:
  // UsageError with the column and what was expected.
  static Expression parse(std::string_view text);
  // Empty = unknown.
  std::optional<bool> evaluate(const ExpressionFacts& facts) const;
  // Categories and rules it names, for checks against the policy.
  const std::vector<std::string>& categories() const { return categories_; }
  const std::vector<std::string>& rules() const { return rules_; }

  struct Node;

 private:
  std::shared_ptr<const Node> root_;
  std::vector<std::string> categories_, rules_;
};

}  // namespace parapet::guard
