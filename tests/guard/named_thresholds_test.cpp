// Policies that name a threshold of the trained heads instead of writing a number.
#include "parapet/guard/named_thresholds.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/guard/policy.h"
#include "support/temp_folder.h"

namespace parapet::guard {
namespace {

namespace fs = std::filesystem;

// Heads of weapon and fire; nothing was chosen for pictures of fire but best_f1.
nlohmann::json heads_json() {
  const auto chosen = [](double fpr1, double recall95, double best_f1) {
    return nlohmann::json{{"fpr1", fpr1}, {"recall95", recall95}, {"best_f1", best_f1}};
  };
  nlohmann::json json = {{"version", "v1"}, {"categories", {"weapon", "fire"}}};
  json["thresholds"] = {{"image.weapon", chosen(0.61, 0.31, 0.41)},
                        {"text.weapon", chosen(0.62, 0.32, 0.42)},
                        {"joint.weapon", chosen(0.63, 0.33, 0.43)},
                        {"image.fire", {{"fpr1", nullptr}, {"best_f1", 0.44}}},
                        {"text.fire", chosen(0.65, 0.35, 0.45)},
                        {"image.harm", chosen(0.71, 0.51, 0.81)},
                        {"text.harm", chosen(0.72, 0.52, 0.82)},
                        {"joint.harm", chosen(0.73, 0.53, 0.83)},
                        {"contradiction", chosen(std::nextafter(1.0, 2.0), 0.54, 0.64)}};
  return json;
}

class NamedThresholdsTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(folder_ / "run/heads");
    fs::create_directories(folder_ / "clip");
    write(heads_json());
    fs::copy(fs::path(PARAPET_SOURCE_DIR) / "policies/taxonomy.toml", folder_ / "taxonomy.toml");
  }
  void write(const nlohmann::json& json) const {
    std::ofstream(folder_ / "run/heads/guard_heads.json") << json;
  }
  Policy parse(const std::string& toml) const {
    return Policy::parse("[clip]\nmodel='clip'\nheads='run'\n" + toml, "p.toml", folder_.path());
  }
  std::string mistakes(const std::string& toml) const {
    try {
      parse(toml);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  }
  const test::TempFolder folder_;
};

const CategoryRule& rule(const Policy& policy, const char* category, Modality modality,
                         const char* profile = "", Side side = Side::kInput) {
  return *policy.rule(profile, category, modality, side);
}

TEST_F(NamedThresholdsTest, StandForTheHeadsNumbersPerCategoryAndModality) {
  const Policy policy = parse(R"(
[defaults]
flag = "recall95"
block = "fpr1"
[category.weapon]
[category.weapon.text.output]
block = 0.9
[category.any_harm]
block = "best_f1"
[category.contradiction]
)");
  EXPECT_EQ(policy.clip.heads, folder_ / "run/heads/guard_heads.json");
  EXPECT_EQ(rule(policy, "weapon", Modality::kImage).flag, 0.31);
  EXPECT_EQ(rule(policy, "weapon", Modality::kText).flag, 0.32);
  EXPECT_EQ(rule(policy, "weapon", Modality::kJoint).block, 0.63);
  EXPECT_EQ(rule(policy, "weapon", Modality::kText, "", Side::kOutput).block, 0.9);
  EXPECT_EQ(rule(policy, "weapon", Modality::kText, "", Side::kOutput).block_from, "");
  EXPECT_EQ(rule(policy, "any_harm", Modality::kImage).flag, 0.51);
  EXPECT_EQ(rule(policy, "any_harm", Modality::kJoint).block, 0.83);
  EXPECT_EQ(rule(policy, "any_harm", Modality::kJoint).block_from, "best_f1");
  // The heads judge contradiction in pairs alone.
  EXPECT_EQ(rule(policy, "contradiction", Modality::kJoint).flag, 0.54);
  EXPECT_EQ(rule(policy, "contradiction", Modality::kText).flag, std::nullopt);
  EXPECT_GT(*rule(policy, "contradiction", Modality::kJoint).block, 1.0);
  EXPECT_EQ(policy.categories_with_named_thresholds(),
            (std::vector<std::string>{"weapon", "any_harm", "contradiction"}));
}

// Like numbers: a profile's scale changes what it inherits, not what it says itself.
TEST_F(NamedThresholdsTest, ProfilesScaleAndOverride) {
  const Policy policy = parse(R"(
[category.weapon]
flag = "recall95"
block = "never"
[category.contradiction]
flag = "fpr1"
[profile.child]
scale = 0.5
[profile.child.category.weapon.image]
block = "fpr1"
[profile.calm]
scale = 2
[profile.calm.category.weapon.text]
flag = 0.7
)");
  EXPECT_EQ(rule(policy, "weapon", Modality::kImage, "child").flag, 0.155);
  EXPECT_EQ(rule(policy, "weapon", Modality::kImage, "child").block, 0.61);
  EXPECT_EQ(rule(policy, "weapon", Modality::kText, "child").block, std::nullopt);
  EXPECT_EQ(rule(policy, "weapon", Modality::kText, "calm").flag, 0.7);
  EXPECT_EQ(rule(policy, "weapon", Modality::kJoint, "calm").flag, 0.66);
  // Above 1 stays above 1: nothing was to reach it.
  EXPECT_GT(*rule(policy, "contradiction", Modality::kJoint, "calm").flag, 1.0);
}

TEST_F(NamedThresholdsTest, EveryMistakeHasItsLine) {
  const std::string text = mistakes(R"([defaults]
flag = 0.5
block = 0.9
[category.weapon]
flag = "fpr2"
[category.fire]
flag = "fpr1"
[category.hate]
block = "recall95"
[profile.news]
[profile.news.category.fire.image]
flag = "recall95"
)");
  for (const char* expected :
       {"p.toml:8: 'category.weapon.flag' must be a number from 0 to 1 or one of: fpr1, recall95, "
        "best_f1, never; not 'fpr2'",
        "p.toml:10: 'category.fire.flag' = \"fpr1\" was not chosen for fire.image",
        "p.toml:10: 'category.fire.flag' = \"fpr1\" was not chosen for fire.joint",
        "p.toml:12: 'category.hate.block' = \"recall95\" cannot stand for category 'hate', which "
        "the heads do not score",
        "p.toml:15: 'profile.news.category.fire.image.flag' = \"recall95\" was not chosen"})
    EXPECT_NE(text.find(expected), std::string::npos) << expected << "\n" << text;
  EXPECT_NE(text.find("policy has 5 mistakes"), std::string::npos) << text;
  // What is overridden everywhere is no mistake.
  EXPECT_EQ(mistakes("[category.fire]\nflag='fpr1'\n[category.fire.image]\nflag='best_f1'\n"
                     "[category.fire.joint]\nflag='never'\n"),
            "");
}

TEST_F(NamedThresholdsTest, NeedHeadsThatCanBeRead) {
  const auto without = [&](const char* clip) -> std::string {
    try {
      Policy::parse(std::string(clip) + "[category.weapon]\nflag='fpr1'\n", "p.toml",
                    folder_.path());
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  for (const char* clip :
       {"", "[clip]\nmodel='clip'\n", "[clip]\nenabled=false\nmodel='clip'\nheads='run'\n"})
    EXPECT_NE(
        without(clip).find("'category.weapon.flag' = \"fpr1\" is a threshold of trained heads"),
        std::string::npos)
        << without(clip);
  EXPECT_NE(without("[clip]\nmodel='clip'\nheads='clip'\n").find("p.toml:3: 'clip.heads' has no "),
            std::string::npos);
  std::ofstream(folder_ / "run/heads/guard_heads.json") << "{\"categories\": 3}";
  EXPECT_NE(without("[clip]\nmodel='clip'\nheads='run'\n").find("field 'categories'"),
            std::string::npos);
}

TEST_F(NamedThresholdsTest, TheHashCoversThem) {
  const std::string toml = "[category.weapon]\nflag='fpr1'\n";
  const std::string before = parse(toml).hash;
  EXPECT_EQ(parse(toml).hash, before);
  auto json = heads_json();
  json["thresholds"]["image.weapon"]["fpr1"] = 0.99;
  write(json);
  EXPECT_NE(parse(toml).hash, before);
  EXPECT_EQ(rule(parse(toml), "weapon", Modality::kImage).flag, 0.99);
}

}  // namespace
}  // namespace parapet::guard
