#include "parapet/guard/expression.h"

#include <gtest/gtest.h>

#include "parapet/core/error.h"

namespace parapet::guard {
namespace {

std::optional<bool> evaluate(std::string_view text) {
  ExpressionFacts facts;
  facts.score = [](std::string_view category,
                   std::optional<Modality> modality) -> std::optional<double> {
    if (category == "weapon") return modality == Modality::kText ? 0.2 : 0.8;
    return std::nullopt;
  };
  facts.rule = [](std::string_view rule) { return rule == "threats"; };
  facts.side = "input";
  facts.profile = "news";
  return Expression::parse(text).evaluate(facts);
}

TEST(Expression, ComparesAndJoins) {
  EXPECT_EQ(evaluate("weapon >= 0.8"), true);
  EXPECT_EQ(evaluate("weapon > 0.8"), false);
  EXPECT_EQ(evaluate("weapon.text < 0.3 and weapon.image > .5"), true);
  EXPECT_EQ(evaluate("weapon.text > 0.3 or rule('threats')"), true);
  EXPECT_EQ(evaluate("not rule(\"threats\") or side == 'output'"), false);
  EXPECT_EQ(evaluate("profile != 'art' and not not_scanned"), true);
  // 'and' binds tighter than 'or'
  EXPECT_EQ(evaluate("rule('threats') or rule('x') and rule('x')"), true);
  EXPECT_EQ(evaluate("(rule('threats') or rule('x')) and rule('x')"), false);
}

TEST(Expression, UnknownScoresNeverDecide) {
  EXPECT_EQ(evaluate("fire > 0.5"), std::nullopt);
  EXPECT_EQ(evaluate("not fire > 0.5"), std::nullopt);
  EXPECT_EQ(evaluate("fire > 0.5 or weapon > 0.5"), true);
  EXPECT_EQ(evaluate("fire > 0.5 and weapon > 0.9"), false);
  EXPECT_EQ(evaluate("fire > 0.5 and weapon > 0.5"), std::nullopt);
}

TEST(Expression, RefusesWithTheColumn) {
  for (const char* text : {"", "weapon", "weapon > ", "weapon > 0.5 weapon", "weapon.video > 1",
                           "rule(x)", "(weapon > 0.5", "side > 'x'", "weapon = 1", "'x' > 1",
                           "weapon > 0.5 and", "rule('x", "&"}) {
    try {
      Expression::parse(text);
      FAIL() << text;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find("column"), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(Expression::parse(std::string(3000, '(')), UsageError);
  std::string nots;
  for (int i = 0; i < 1000; ++i) nots += "not ";
  EXPECT_THROW(Expression::parse(nots + "not_scanned"), UsageError);
}

}  // namespace
}  // namespace parapet::guard
