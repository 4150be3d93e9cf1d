#include "parapet/data/guard_targets.h"

#include <gtest/gtest.h>

#include "parapet/core/error.h"

namespace parapet {
namespace {

LabelSample sample(const std::string& grade, std::map<std::string, std::string> attributes = {}) {
  LabelSample out;
  out.id = "x";
  out.image = "a.png";
  out.text = "text";
  out.labels = {{"fire", grade}, {"weapon", "none"}};
  out.attributes = std::move(attributes);
  return out;
}

const std::vector<std::string> kCategories = {"fire", "weapon"};

std::array<int8_t, 3> harm(const LabelSample& s) { return guard_targets(s, kCategories).harm; }

using Sides = std::array<int8_t, 3>;

TEST(GuardTargets, GradesOfAPair) {
  EXPECT_EQ(harm(sample("none")), (Sides{0, 0, 0}));
  EXPECT_EQ(harm(sample("explicit", {{"unsafe_side", "both"}})), (Sides{1, 1, 1}));
  EXPECT_EQ(harm(sample("explicit", {{"unsafe_side", "image"}})), (Sides{1, 0, 1}));
  EXPECT_EQ(harm(sample("explicit", {{"unsafe_side", "text"}})), (Sides{0, 1, 1}));
  EXPECT_EQ(harm(sample("explicit")), (Sides{-1, -1, 1}));
  EXPECT_EQ(harm(sample("implicit")), (Sides{0, 0, 1}));
  EXPECT_EQ(harm(sample("context")), (Sides{-1, 0, 0}));
  EXPECT_THROW(harm(sample("bad")), DataError);
  EXPECT_THROW(harm(sample("explicit", {{"unsafe_side", "left"}})), DataError);
}

TEST(GuardTargets, OneSideOnly) {
  LabelSample image = sample("explicit");
  image.text.clear();
  EXPECT_EQ(harm(image), (Sides{1, -1, -1}));
  LabelSample text = sample("context");
  text.image.clear();
  EXPECT_EQ(harm(text), (Sides{-1, 0, -1}));
  EXPECT_EQ(guard_targets(text, kCategories).contradiction, -1);
}

TEST(GuardTargets, HarmOfAnyCategoryWinsOverUnknown) {
  LabelSample both = sample("context");
  both.labels["weapon"] = "explicit";
  both.attributes["unsafe_side"] = "image";
  const GuardTargets targets = guard_targets(both, kCategories);
  EXPECT_EQ(targets.harm, (Sides{1, 0, 1}));
  EXPECT_EQ(targets.categories[0], (std::vector<int8_t>{-1, 1}));
  EXPECT_EQ(targets.categories[2], (std::vector<int8_t>{0, 1}));
}

TEST(GuardTargets, Contradictions) {
  const auto of = [](std::map<std::string, std::string> attributes) {
    return guard_targets(sample("none", std::move(attributes)), kCategories).contradiction;
  };
  EXPECT_EQ(of({}), -1);
  EXPECT_EQ(of({{"kind", "safe"}}), 0);
  EXPECT_EQ(of({{"kind", "one_sided"}}), 1);
  EXPECT_EQ(of({{"kind", "contradiction"}, {"swapped", "object"}}), 1);
  EXPECT_EQ(of({{"kind", "safe"}, {"consistent", "no"}}), 1);
  EXPECT_EQ(of({{"kind", "implicit"}}), -1);
}

TEST(GuardTargets, CategoriesOfASet) {
  LabelSample other = sample("none");
  other.labels = {{"alcohol", "none"}};
  EXPECT_EQ(label_categories({sample("none"), other}),
            (std::vector<std::string>{"alcohol", "fire", "weapon"}));
}

}  // namespace
}  // namespace parapet
