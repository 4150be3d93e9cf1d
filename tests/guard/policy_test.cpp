#include "parapet/guard/policy.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "support/temp_folder.h"

namespace parapet::guard {
namespace {

const std::filesystem::path kPolicies = std::filesystem::path(PARAPET_SOURCE_DIR) / "policies";

std::string mistakes_of(std::string_view toml) {
  try {
    Policy::parse(toml, "p.toml", kPolicies);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

Policy parse(std::string_view toml) { return Policy::parse(toml, "p.toml", kPolicies); }

TEST(Taxonomy, CoversEveryCategoryOfEveryScheme) {
  const Taxonomy taxonomy = Taxonomy::load(kPolicies / "taxonomy.toml");
  std::set<std::string> openai, llama, ailuminate, azure;
  for (const auto& category : taxonomy.categories()) {
    openai.insert(category.openai.begin(), category.openai.end());
    llama.insert(category.llama_guard.begin(), category.llama_guard.end());
    ailuminate.insert(category.ailuminate.begin(), category.ailuminate.end());
    if (!category.azure.empty()) azure.insert(category.azure);
  }
  EXPECT_EQ(openai.size(), 13u);
  EXPECT_EQ(llama.size(), 14u);
  EXPECT_EQ(ailuminate.size(), 12u);
  EXPECT_EQ(azure.size(), 4u);
}

TEST(Taxonomy, HoldsTheTwentyConceptsAndTheWorldsCategories) {
  const Taxonomy taxonomy = Taxonomy::load(kPolicies / "taxonomy.toml");
  for (const char* name : {"hate",
                           "harassment",
                           "violence",
                           "suffering",
                           "humiliation",
                           "harm",
                           "suicide",
                           "sexual",
                           "nudity",
                           "bodily_fluids",
                           "blood",
                           "drug_use",
                           "obscene_gestures",
                           "illegal_activity",
                           "theft",
                           "weapons",
                           "vandalism",
                           "abuse",
                           "brutality",
                           "cruelty",
                           "weapon",
                           "death",
                           "alcohol",
                           "drugs",
                           "gesture",
                           "fire",
                           "hazard"}) {
    ASSERT_NE(taxonomy.find(name), nullptr) << name;
    EXPECT_NE(taxonomy.find(taxonomy.find(name)->parent), nullptr) << name;
  }
}

TEST(Taxonomy, NamesEveryMistake) {
  try {
    Taxonomy::parse("[[category]]\nname='A b'\nopenai=['violense']\n[[category]]\nparent='x'\n",
                    "t.toml");
    FAIL();
  } catch (const UsageError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("t.toml:2"), std::string::npos) << text;
    EXPECT_NE(text.find("did you mean 'violence'"), std::string::npos) << text;
    EXPECT_NE(text.find("'category.name' is missing"), std::string::npos) << text;
  }
}

TEST(Policy, OverridesGoFromWideToNarrow) {
  const Policy policy = parse(R"(
[defaults]
flag = 0.5
block = 0.9
[category.weapon]
flag = 0.4
[category.weapon.output]
block = 0.8
[category.weapon.image]
flag = 0.3
[category.weapon.image.output]
flag = 0.2
action = "modify"
[category.hate]
[profile.child]
scale = 0.5
[profile.child.category.hate.text]
block = "never"
)");
  const auto rule = [&](const char* profile, const char* category, Modality m, Side s) {
    return *policy.rule(profile, category, m, s);
  };
  EXPECT_EQ(rule("", "weapon", Modality::kText, Side::kInput).flag, 0.4);
  EXPECT_EQ(rule("", "weapon", Modality::kText, Side::kInput).block, 0.9);
  EXPECT_EQ(rule("", "weapon", Modality::kText, Side::kOutput).block, 0.8);
  EXPECT_EQ(rule("", "weapon", Modality::kImage, Side::kInput).flag, 0.3);
  EXPECT_EQ(rule("", "weapon", Modality::kImage, Side::kOutput).flag, 0.2);
  EXPECT_EQ(rule("", "weapon", Modality::kImage, Side::kOutput).action, Action::kModify);
  EXPECT_EQ(rule("", "weapon", Modality::kImage, Side::kInput).action, Action::kBlock);
  EXPECT_EQ(rule("", "hate", Modality::kJoint, Side::kInput).flag, 0.5);
  EXPECT_EQ(rule("child", "weapon", Modality::kImage, Side::kInput).flag, 0.15);
  EXPECT_EQ(rule("child", "hate", Modality::kText, Side::kInput).block, std::nullopt);
  EXPECT_EQ(rule("child", "hate", Modality::kImage, Side::kInput).block, 0.45);
  EXPECT_EQ(policy.rule("", "fire", Modality::kText, Side::kInput), nullptr);
}

TEST(Policy, AWholePolicyCanBeShadow) {
  const Policy policy = parse(
      "mode='shadow'\n[defaults]\nflag=0.5\n[category.fire]\n[category.hate]\nmode='enforce'\n");
  EXPECT_EQ(policy.rule("", "fire", Modality::kText, Side::kInput)->mode, Mode::kShadow);
  EXPECT_EQ(policy.rule("", "hate", Modality::kText, Side::kInput)->mode, Mode::kEnforce);
}

TEST(Policy, ReportsEveryMistakeWithLineAndClosestName) {
  const std::string text = mistakes_of(R"(nmae = "x"
[limits]
max_parts = 0
max_text_bytes = "many"
[fetch]
allow_hosts = ["https://example.org/"]
[rules]
[[rules.list]]
name = "a"
category = "weapn"
kind = "regex"
entries = ["(unclosed"]
[[rules.list]]
name = "a"
category = "weapon"
action = "delete"
entries = ["x"]
files = ["not/there.txt"]
[category.wepon]
[category.weapon]
flag = 0.9
block = 0.5
[category.fire]
flag = 1.5
[[combination]]
name = "c"
when = "weapon >= and"
category = "weapon"
[[combination]]
name = "d"
when = 'wepon > 0.5 and rule("b")'
category = "weapon"
[tenants]
acme = "nwes"
[profile.news]
)");
  for (const char* expected :
       {"p.toml:1: unknown key 'nmae'; did you mean 'name'?", "p.toml:3: 'limits.max_parts'",
        "p.toml:4: 'limits.max_text_bytes' must be an integer", "p.toml:6: 'fetch.allow_hosts'",
        "p.toml:10: 'rules.list.category' 'weapn' is not in the taxonomy; did you mean 'weapon'?",
        "p.toml:12: 'rules.list.entries' has a bad regex '(unclosed'",
        "p.toml:14: 'rules.list.name' 'a' is the name of another rule too",
        "p.toml:16: 'rules.list.action' must be one of: flag, modify, block",
        "p.toml:18: 'rules.list.files' is not a file", "p.toml:19: category 'wepon'",
        "p.toml:20: category 'weapon': 'flag' lies above 'block'",
        "p.toml:24: 'category.fire.flag' must be between 0 and 1",
        "p.toml:27: 'combination.when' column 11: expected a number",
        "p.toml:31: 'combination.when' asks for 'wepon'", "asks for rule 'b'",
        "p.toml:34: 'tenants.acme' names profile 'nwes', which is not there; did you mean 'news'?"})
    EXPECT_NE(text.find(expected), std::string::npos) << expected << "\n" << text;
  EXPECT_NE(text.find("policy has 16 mistakes"), std::string::npos) << text;
}

TEST(Policy, NotTomlNamesTheLine) {
  EXPECT_NE(mistakes_of("a = 1\nb = ]\n").find("p.toml:2: not valid TOML"), std::string::npos);
  EXPECT_NE(mistakes_of("x = " + std::string(5000, '[')), "");
  std::string dotted = "a";
  for (int i = 0; i < 100'000; ++i) dotted += ".a";
  EXPECT_NE(mistakes_of(dotted + " = 1").find("dots"), std::string::npos);
}

// toml++ expects ASCII outside quotes and comments, without looking.
TEST(Policy, LettersOutsideQuotesAreRefused) {
  for (const char* text : {"größe = 1\n", "name = ä\n", "\u0430 = 1\n", "[ü]\n", "\u00A0x = 1\n",
                           "name = 'a' ß\n", "version = \"\"\"a\"\"\"\"\" é\n"})
    EXPECT_NE(mistakes_of(text).find("p.toml:1: not valid TOML: letters"), std::string::npos)
        << text;
  EXPECT_EQ(
      mistakes_of(
          "\xEF\xBB\xBFname = 'größe' # für alle\n"
          "version = \"ä \\\" ö\"\n[rules]\n[[rules.list]]\nname = '''ß\n'''\n"
          "category = 'hate'\nentries = [\"\"\"\"ü\"\nö\"\"\"\"\"]\nallow = ['', \"\"] # é\n"),
      "");
}

TEST(Policy, HashCoversListsAndTaxonomy) {
  const test::TempFolder folder;
  const auto write = [&](const char* name, const std::string& text) {
    std::ofstream(folder / name) << text;
  };
  write("taxonomy.toml", read_file(kPolicies / "taxonomy.toml"));
  write("words.txt", "one\n");
  write("p.toml", "[[rules.list]]\nname='w'\ncategory='hate'\nfiles=['words.txt']\n");
  const std::string first = Policy::load(folder / "p.toml").hash;
  EXPECT_EQ(Policy::load(folder / "p.toml").hash, first);
  write("words.txt", "two\n");
  const std::string second = Policy::load(folder / "p.toml").hash;
  EXPECT_NE(second, first);
  write("taxonomy.toml", read_file(kPolicies / "taxonomy.toml") + "# changed\n");
  EXPECT_NE(Policy::load(folder / "p.toml").hash, second);
}

TEST(Policy, ProfileOfATenant) {
  const Policy policy =
      parse("default_profile='news'\n[profile.news]\n[profile.art]\n[tenants]\nacme='art'\n");
  EXPECT_EQ(policy.resolve_profile("", ""), "news");
  EXPECT_EQ(policy.resolve_profile("", "acme"), "art");
  EXPECT_EQ(policy.resolve_profile("news", "acme"), "news");
  EXPECT_THROW(policy.resolve_profile("nws", ""), UsageError);
}

}  // namespace
}  // namespace parapet::guard
