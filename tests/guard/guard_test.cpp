#include "parapet/guard/guard.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "guard/guard_fixture.h"
#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "support/temp_folder.h"

namespace parapet::guard {
namespace {

using test::FakeSignal;
using test::grey_png;

const std::filesystem::path kPolicies = std::filesystem::path(PARAPET_SOURCE_DIR) / "policies";

constexpr const char* kBase = R"(
[limits]
fail = "closed"
[defaults]
flag = 0.5
block = 0.9
[category.weapon]
review = [0.3, 0.5]
[category.fire]
mode = "shadow"
)";

Policy parse(const std::string& toml) { return Policy::parse(toml, "p.toml", kPolicies); }

struct Made {
  std::shared_ptr<FakeSignal> signal = std::make_shared<FakeSignal>();
  std::unique_ptr<Guard> guard;
};

Made make(const std::string& toml) {
  Made made;
  made.signal->text_scores = {{"weapon", 0.7}};
  made.signal->image_scores = {{"weapon", 0.95}, {"fire", 0.95}};
  GuardOptions options;
  options.signals = {made.signal};
  made.guard = std::make_unique<Guard>(parse(toml), options, Context{});
  return made;
}

const CategoryResult& category(const Decision& decision, const std::string& name) {
  for (const auto& one : decision.categories)
    if (one.category == name) return one;
  throw std::runtime_error("no category " + name);
}

TEST(Guard, AllowsFlagsAndBlocksByThreshold) {
  const Made made = make(kBase);
  Decision decision = made.guard->check({.parts = {Part::text("a nice day")}});
  EXPECT_EQ(decision.action, Action::kAllow);
  EXPECT_TRUE(decision.clean());
  decision = made.guard->check({.parts = {Part::text("harm", "a"), Part::image(grey_png(10))}});
  EXPECT_EQ(decision.action, Action::kFlag);
  EXPECT_EQ(category(decision, "weapon").decided_by, Modality::kText);
  EXPECT_EQ(category(decision, "weapon").flag_at, 0.5);
  EXPECT_EQ(category(decision, "weapon").parent, "illicit");
  EXPECT_EQ(decision.parts[0].action, Action::kFlag);
  EXPECT_EQ(decision.parts[1].action, Action::kAllow);
  decision = made.guard->check({.parts = {Part::image(grey_png(200))}});
  EXPECT_EQ(decision.action, Action::kBlock);
  EXPECT_EQ(category(decision, "weapon").severity, 6);
  EXPECT_NE(decision.reason.find("weapon 0.950 in the image (block at 0.900)"), std::string::npos)
      << decision.reason;
  made.signal->image_scores = {{"theft", 0.6}};  // no table in the policy: reported, not acted on
  decision = made.guard->check({.parts = {Part::image(grey_png(200))}});
  EXPECT_EQ(decision.action, Action::kAllow);
  EXPECT_EQ(category(decision, "theft").severity, 4);
}

TEST(Guard, ShadowRulesAreReportedAndNotEnforced) {
  const Made made =
      make("[defaults]\nflag=0.5\nblock=0.9\nmode='shadow'\n[category.weapon]\n[category.fire]\n");
  const Decision decision = made.guard->check({.parts = {Part::image(grey_png(200))}});
  EXPECT_EQ(decision.action, Action::kAllow);
  EXPECT_EQ(decision.shadow_action, Action::kBlock);
  EXPECT_FALSE(decision.clean());
}

TEST(Guard, TheUndecidedBandGoesToReview) {
  Made made = make(kBase);
  made.signal->text_scores = {{"weapon", 0.4}};
  const Decision decision = made.guard->check({.parts = {Part::text("harm")}});
  EXPECT_EQ(decision.action, Action::kAllow);
  EXPECT_TRUE(decision.review);
  EXPECT_FALSE(decision.clean());
}

// Each way an image can stay unscanned; none of them may be clean, and the fail mode decides.
TEST(Guard, NeverCleanByOmission) {
  for (const char* fail : {"open", "flag", "closed"}) {
    const Made made = make(
        "[limits]\nmax_image_bytes=5000\nmax_image_pixels=2000\nmax_parts=3\n"
        "fail='" +
        std::string(fail) + "'\n[fetch]\nfail='" + fail + "'\n[category.weapon]\n");
    const Action expected = fail == std::string("open")   ? Action::kAllow
                            : fail == std::string("flag") ? Action::kFlag
                                                          : Action::kBlock;
    const std::string png = grey_png(10);
    const std::vector<std::pair<Part, std::string>> cases = {
        {Part::image(""), "empty"},
        {Part::image("not an image"), "bad_image"},
        {Part::image(png.substr(0, png.size() / 2)), "bad_image"},
        {Part::image(png + std::string(6000, 'x')), "too_large"},
        {Part::image(encode_png(test::grey_image(10, 100, 100))), "too_large"},
        {Part::url("data:image/png;base64,!!!!"), "bad_data_uri"},
        {Part::url("data:image/png,abc"), "bad_data_uri"},
        {Part::url("https://example.org/a.png"), "host_not_allowed"},
    };
    for (const auto& [part, reason] : cases) {
      const Decision decision = made.guard->check({.parts = {Part::text("hello"), part}});
      ASSERT_EQ(decision.not_scanned.size(), 1u) << reason;
      EXPECT_EQ(decision.not_scanned[0].reason, reason);
      EXPECT_EQ(decision.not_scanned[0].part, 1);
      EXPECT_EQ(decision.parts[1].state, ScanState::kNotScanned);
      EXPECT_EQ(decision.parts[0].state, ScanState::kScanned);
      EXPECT_EQ(decision.action, expected) << reason;
      EXPECT_FALSE(decision.complete);
      EXPECT_FALSE(decision.clean());
    }
    GuardRequest many;
    for (int i = 0; i < 5; ++i) many.parts.push_back(Part::image(png));
    const Decision decision = made.guard->check(many);
    EXPECT_EQ(decision.not_scanned.size(), 2u);
    EXPECT_EQ(decision.not_scanned[0].reason, "too_many_parts");
    EXPECT_EQ(decision.action, expected);
  }
}

// The category's highest score stands in one modality, the one that meets a threshold in another:
// the reason shows the latter, whichever comes first.
TEST(Guard, TheReasonShowsTheScoreThatDecided) {
  for (const bool image_first : {true, false}) {
    const Made made = make("[category.weapon]\n[category.weapon.text]\nflag=0.6\n");
    made.signal->image_scores = {{"weapon", 0.95}};
    std::vector<Part> parts = {Part::text("harm"), Part::image(grey_png(200)), Part::text("fine")};
    if (image_first) std::swap(parts[0], parts[1]);
    const Decision decision = made.guard->check({.parts = parts});
    EXPECT_EQ(decision.action, Action::kFlag);
    const CategoryResult& weapon = category(decision, "weapon");
    EXPECT_EQ(weapon.score, 0.95);
    EXPECT_EQ(weapon.decided_by, Modality::kText);
    EXPECT_EQ(weapon.decided_score, 0.7);
    EXPECT_EQ(weapon.part, image_first ? 1 : 0);
    EXPECT_NE(decision.reason.find("weapon 0.700 in the text (flag at 0.600)"), std::string::npos)
        << decision.reason;
  }
}

// Of two texts that are flagged the higher one decides, whatever a picture has.
TEST(Guard, TheHighestOfEqualActionsDecides) {
  const Made made = make("[category.weapon]\n[category.weapon.text]\nflag=0.001\n");
  made.signal->image_scores = {{"weapon", 0.95}};
  const Decision decision = made.guard->check(
      {.parts = {Part::image(grey_png(200)), Part::text("fine"), Part::text("harm")}});
  EXPECT_EQ(category(decision, "weapon").part, 2);
  EXPECT_EQ(category(decision, "weapon").decided_score, 0.7);
}

TEST(Guard, AFailingSignalIsNotScanned) {
  Made made = make(kBase);
  made.signal->thrown = "out of memory";
  Decision decision = made.guard->check({.parts = {Part::text("hello")}});
  EXPECT_EQ(decision.action, Action::kBlock);
  EXPECT_EQ(decision.not_scanned[0].reason, "signal_failed");
  EXPECT_EQ(decision.parts[0].state, ScanState::kNotScanned);
  made.signal->thrown.clear();
  made.signal->failure = "overloaded";
  decision = made.guard->check({.parts = {Part::text("hello")}});
  EXPECT_EQ(decision.not_scanned[0].reason, "overloaded");
  made.signal->failure.clear();
  made.signal->text_scores = {{"weapon", std::nan("")}};
  decision = made.guard->check({.parts = {Part::text("harm")}});
  EXPECT_FALSE(decision.clean());
  EXPECT_FALSE(decision.complete);
}

TEST(Guard, ACategoryMayFailClosedWhereItsLevelFailsOpen) {
  const std::string open = "[clip]\nenabled=false\nfail='open'\n[category.weapon]\n";
  for (const auto& [toml, expected] :
       {std::pair{open, Action::kAllow}, std::pair{open + "fail='closed'\n", Action::kBlock},
        std::pair{open + "[category.weapon.image]\nfail='closed'\n", Action::kAllow},
        std::pair{open + "fail='closed'\nmode='shadow'\n", Action::kAllow}}) {
    Made made = make(toml);
    made.signal->thrown = "down";
    const Decision decision = made.guard->check({.parts = {Part::text("hello")}});
    EXPECT_EQ(decision.action, expected) << toml;
    EXPECT_FALSE(decision.clean());
  }
}

TEST(Guard, WhatThePolicyDoesNotLookAtIsNotScanned) {
  Made made = make(kBase);
  made.signal->looks_at_images = false;
  const Decision decision = made.guard->check({.parts = {Part::image(grey_png(10))}});
  EXPECT_EQ(decision.not_scanned[0].reason, "no_signal");
  EXPECT_EQ(decision.action, Action::kBlock);
}

// Small files of one colour that are huge when decoded must not fill the memory together.
TEST(Guard, TheImagesOfARequestShareAPixelLimit) {
  const Made made = make("[limits]\nmax_request_pixels=3000\nfail='flag'\n[category.weapon]\n");
  GuardRequest request;
  for (int i = 0; i < 4; ++i) request.parts.push_back(Part::image(grey_png(10)));  // 1200 each
  const Decision decision = made.guard->check(request);
  ASSERT_EQ(decision.not_scanned.size(), 2u);
  EXPECT_EQ(decision.not_scanned[0].reason, "too_large");
  EXPECT_EQ(decision.not_scanned[0].part, 0);  // the newest are looked at
  EXPECT_EQ(decision.parts[1].state, ScanState::kNotScanned);
  EXPECT_EQ(decision.parts[2].state, ScanState::kScanned);
  EXPECT_EQ(decision.action, Action::kFlag);
}

// A level that looks at other parts only has not looked at this one.
TEST(Guard, ListsThatDoNotApplyAreNoScan) {
  const parapet::test::TempFolder folder;
  std::filesystem::copy(kPolicies / "taxonomy.toml", folder / "taxonomy.toml");
  std::ofstream(folder / "pdq.txt") << std::string(64, '0') << "\n";
  const std::string words =
      "[rules]\n[[rules.list]]\nname='w'\nentries=['darn']\ncategory='profanity'\n"
      "sides=['output']\n[[rules.list]]\nname='a'\nentries=['darn good']\nallows=true\n";
  const std::string hashes = "[[hash.list]]\nname='h'\nfile='pdq.txt'\ncategory='known_content'\n";
  const auto check = [&](const std::string& toml, const Part& part, Side side) {
    const Guard guard(Policy::parse(toml, "p.toml", folder.path()), {}, Context{});
    const Decision decision = guard.check({.parts = {part}, .side = side});
    EXPECT_EQ(decision.clean(), decision.not_scanned.empty());
    return decision.not_scanned.empty() ? "scanned" : decision.not_scanned[0].reason;
  };
  EXPECT_EQ(check(words, Part::text("hello"), Side::kInput), "no_signal");
  EXPECT_EQ(check(words, Part::text("hello"), Side::kOutput), "scanned");
  EXPECT_EQ(check(hashes, Part::text("hello"), Side::kInput), "no_signal");
  const std::string exact = hashes + "kind='sha256'\n";
  EXPECT_EQ(check(exact, Part::text("hello"), Side::kInput), "no_signal");
  EXPECT_EQ(check(exact + "texts=true\n", Part::text("hello"), Side::kInput), "scanned");
  EXPECT_EQ(check(exact, Part::image(grey_png(90)), Side::kInput), "scanned");
  EXPECT_THROW(check(hashes + "texts=true\n", Part::text("hello"), Side::kInput), UsageError);
  // One grey everywhere has no perceptual hash to compare.
  EXPECT_EQ(check(hashes, Part::image(grey_png(90)), Side::kInput), "no_signal");
  EXPECT_EQ(check(hashes + "min_quality=0\n", Part::image(grey_png(90)), Side::kInput), "scanned");
}

TEST(Guard, AKnownFileThatCannotBeDecodedIsKnown) {
  const parapet::test::TempFolder folder;
  std::filesystem::copy(kPolicies / "taxonomy.toml", folder / "taxonomy.toml");
  std::ofstream(folder / "sha.txt") << sha256_hex("junk") << "\n";
  const Policy policy = Policy::parse(
      "[limits]\nfail='open'\n[[hash.list]]\nname='h'\nkind='sha256'\nfile='sha.txt'\n"
      "category='known_content'\n",
      "p.toml", folder.path());
  const Guard guard(policy, {}, Context{});
  const Decision decision = guard.check({.parts = {Part::image("junk")}});
  EXPECT_EQ(decision.action, Action::kBlock);
  EXPECT_EQ(decision.parts[0].state, ScanState::kNotScanned);
  EXPECT_EQ(guard.check({.parts = {Part::image("other")}}).action, Action::kAllow);
}

// What cannot be read is unscanned for every category that would have looked at it.
TEST(Guard, ACategoryMayFailClosedWhereTheLimitsFailOpen) {
  const std::string open = "[limits]\nfail='open'\n[category.weapon]\n";
  for (const auto& [toml, expected] :
       {std::pair{open, Action::kAllow}, std::pair{open + "fail='closed'\n", Action::kBlock},
        std::pair{open + "[category.weapon.text]\nfail='closed'\n", Action::kAllow},
        std::pair{open + "[category.weapon.image]\nfail='flag'\n", Action::kFlag},
        std::pair{open + "[category.theft]\nfail='closed'\n", Action::kAllow}}) {
    const Made made = make(toml);
    const Decision decision = made.guard->check({.parts = {Part::image("not an image")}});
    EXPECT_EQ(decision.action, expected) << toml;
    EXPECT_FALSE(decision.clean());
  }
}

TEST(Guard, OfAnAnimationOnlyThePictureLookedAtIsScanned) {
  const std::string head("GIF89a\1\0\1\0\x80\0\0\xff\xff\xff\0\0\0", 19);
  const std::string frame(",\0\0\0\0\1\0\1\0\0\2\2D\1\0", 15);
  const Made made = make("[limits]\nfail='flag'\n[category.weapon]\n");
  Decision decision = made.guard->check({.parts = {Part::image(head + frame + ";")}});
  EXPECT_TRUE(decision.clean()) << decision.reason;
  decision = made.guard->check({.parts = {Part::image(head + frame + frame + ";")}});
  ASSERT_EQ(decision.not_scanned.size(), 1u);
  EXPECT_EQ(decision.not_scanned[0].reason, "more_frames");
  EXPECT_EQ(decision.parts[0].state, ScanState::kPartly);
  EXPECT_EQ(decision.action, Action::kFlag);
}

TEST(Guard, DeadlinesAreFailuresToo) {
  const Made made = make(kBase);
  GuardRequest request{.parts = {Part::text("hello")}};
  request.deadline = Clock::now() - std::chrono::seconds(1);
  const Decision decision = made.guard->check(request);
  EXPECT_EQ(decision.not_scanned[0].reason, "deadline");
  EXPECT_EQ(made.signal->calls, 0);
}

// A server gives every request a deadline; the policy's holds as well, whichever is earlier.
TEST(Guard, TheEarlierDeadlineHolds) {
  const Made made = make("[limits]\ndeadline_ms=0.000001\n[category.weapon]\n");
  GuardRequest request{.parts = {Part::text("hello")}};
  request.deadline = Clock::now() + std::chrono::hours(1);
  EXPECT_EQ(made.guard->check(request).not_scanned.at(0).reason, "deadline");
}

TEST(Guard, ABlockingRuleSparesTheDearLevels) {
  const std::string rules =
      "[rules]\n[[rules.list]]\nname='w'\nentries=['darn']\ncategory='profanity'\naction='block'\n";
  Made made = make(std::string(kBase) + rules);
  Decision decision = made.guard->check({.parts = {Part::text("darn harm")}});
  EXPECT_EQ(decision.action, Action::kBlock);
  EXPECT_EQ(decision.stopped_at, "rules");
  EXPECT_EQ(made.signal->calls, 0);
  made = make("[limits]\nstop_on_block=false\n[category.weapon]\n" + rules);
  decision = made.guard->check({.parts = {Part::text("darn harm")}});
  EXPECT_EQ(made.signal->calls, 1);
  EXPECT_EQ(decision.stopped_at, "");
}

TEST(Guard, CombinationsJoinWeakSigns) {
  Made made = make(std::string(kBase) + R"(
[[combination]]
name = "both"
when = "weapon.text >= 0.3 and fire.image >= 0.3 and side == 'output'"
category = "violence"
action = "block"
)");
  made.signal->text_scores = {{"weapon", 0.35}};
  made.signal->image_scores = {{"fire", 0.35}};
  GuardRequest request{.parts = {Part::text("harm"), Part::image(grey_png(200))}};
  EXPECT_EQ(made.guard->check(request).action, Action::kAllow);
  request.side = Side::kOutput;
  const Decision decision = made.guard->check(request);
  EXPECT_EQ(decision.action, Action::kBlock);
  EXPECT_EQ(decision.rules[0].rule, "both");
}

TEST(Guard, MasksTheSpansAndBlursThePicture) {
  Made made = make(R"(
[category.weapon]
flag = 0.5
block = 0.9
action = "modify"
[rules]
[[rules.list]]
name = "w"
entries = ["darn"]
category = "profanity"
action = "modify"
[modify]
mask = "#"
image = "pixelate"
)");
  const Decision decision =
      made.guard->check({.parts = {Part::text("oh d a r n it"), Part::image(grey_png(200))}});
  EXPECT_EQ(decision.action, Action::kModify);
  ASSERT_EQ(decision.modified.size(), 2u);
  EXPECT_EQ(decision.modified[0].content, "oh # # # # it");
  EXPECT_EQ(decision.modified[1].how, "pixelate");
  EXPECT_EQ(decode_image(decision.modified[1].content, "png").width, 40);
  GuardRequest without{.parts = {Part::text("darn")}};
  without.modify = false;
  EXPECT_TRUE(made.guard->check(without).modified.empty());
}

// A span hides a word of a text, not what a score of the whole text or of a combination says.
TEST(Guard, WhatNoSpanHoldsIsChangedAsAWhole) {
  const std::string toml = R"(
[category.weapon]
flag = 0.5
block = 0.6
action = "modify"
[rules]
[[rules.list]]
name = "w"
entries = ["darn"]
category = "profanity"
action = "modify"
)";
  const Made made = make(toml);
  const auto masked = [&](const std::string& text) {
    const Decision decision = made.guard->check({.parts = {Part::text(text)}});
    return decision.modified.size() == 1 ? decision.modified[0].content : decision.reason;
  };
  EXPECT_EQ(masked("darn it"), "**** it");
  EXPECT_EQ(masked("darn harm"), "**** ****");
  Made joined = make(toml +
                     "[[combination]]\nname='c'\nwhen=\"rule('w')\"\ncategory='violence'\n"
                     "action='modify'\n");
  EXPECT_EQ(joined.guard->check({.parts = {Part::text("darn it")}}).modified.at(0).content,
            "**** **");
}

// A part that is to be changed and cannot be read is not handed out as it came.
TEST(Guard, WhatCannotBeChangedIsBlocked) {
  const Made made = make(R"(
[limits]
fail = "open"
[category.weapon]
[[combination]]
name = "c"
when = "not_scanned"
category = "violence"
action = "modify"
)");
  const Decision decision =
      made.guard->check({.parts = {Part::text("hello"), Part::image("junk", "photo")}});
  EXPECT_EQ(decision.action, Action::kBlock);
  EXPECT_TRUE(decision.modified.empty());
  EXPECT_NE(decision.reason.find("photo"), std::string::npos) << decision.reason;
}

// A rule has no score; its severity is that of what it asks for.
TEST(Guard, RulesHaveASeverityAndAModality) {
  for (const auto& [action, severity] :
       {std::pair{"flag", 2}, std::pair{"modify", 4}, std::pair{"block", 6}}) {
    const Made made = make(
        "[category.weapon]\n[rules]\n[[rules.list]]\nname='w'\n"
        "entries=['darn']\ncategory='profanity'\naction='" +
        std::string(action) + "'\n");
    const Decision decision =
        made.guard->check({.parts = {Part::image(grey_png(10)), Part::text("darn")}});
    EXPECT_EQ(category(decision, "profanity").severity, severity);
    EXPECT_EQ(category(decision, "profanity").decided_by, Modality::kText);
    EXPECT_EQ(category(decision, "profanity").part, 1);
    EXPECT_EQ(category(decision, "weapon").severity, 0);
  }
}

TEST(Guard, ProfilesAndTenants) {
  Made made = make(std::string(kBase) +
                   "[profile.news]\n[profile.news.category.weapon]\nflag='never'\nblock='never'\n"
                   "[tenants]\nacme='news'\n");
  GuardRequest request{.parts = {Part::image(grey_png(200))}};
  EXPECT_EQ(made.guard->check(request).action, Action::kBlock);
  request.tenant = "acme";
  EXPECT_EQ(made.guard->check(request).action, Action::kAllow);
  EXPECT_EQ(made.guard->check(request).profile, "news");
  request.profile = "nope";
  EXPECT_THROW(made.guard->check(request), UsageError);
}

TEST(Guard, ReloadIsWholeAndARefusedPolicyLeavesTheOldOne) {
  Made made = make(kBase);
  const std::string strict = "[category.weapon]\nflag=0.005\nblock=0.005\n";
  EXPECT_THROW(parse(strict + "flg=1\n"), UsageError);
  // A list that cannot be read when the policy is put in force.
  const parapet::test::TempFolder folder;
  std::filesystem::copy(kPolicies / "taxonomy.toml", folder / "taxonomy.toml");
  std::ofstream(folder / "list.txt") << "not a hash\n";
  const Policy broken = Policy::parse(
      "[[hash.list]]\nname='h'\nkind='sha256'\nfile='list.txt'\ncategory='known_content'\n",
      "p.toml", folder.path());
  EXPECT_THROW(made.guard->reload(broken), DataError);
  const std::string before = made.guard->policy()->hash;
  EXPECT_EQ(made.guard->check({.parts = {Part::text("x")}}).policy_hash, before);
  // Requests in flight see one policy or the other, whole.
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0}, seen{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      while (!stop) {
        const Decision decision = made.guard->check({.parts = {Part::text("x")}});
        const bool old = decision.policy_hash == before;
        wrong += (decision.action == Action::kAllow) != old;
        ++seen;
      }
    });
  for (int i = 0; i < 20; ++i) made.guard->reload(parse(i % 2 == 0 ? strict : kBase));
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_GT(seen, 0);
  EXPECT_EQ(wrong, 0);
}

TEST(Guard, ReadinessAsksTheSignals) {
  Made made = make(kBase);
  EXPECT_TRUE(made.guard->readiness().ready);
  made.signal->ready = false;
  const Readiness readiness = made.guard->readiness();
  EXPECT_FALSE(readiness.ready);
  EXPECT_EQ(readiness.problems, std::vector<std::string>{"fake: not loaded"});
}

TEST(Guard, TheDecisionsJsonExplainsItself) {
  const Made made = make(kBase);
  const auto json = to_json(made.guard->check(
      {.id = "r1", .parts = {Part::text("harm", "prompt"), Part::image("junk", "photo")}}));
  EXPECT_EQ(json["id"], "r1");
  EXPECT_EQ(json["action"], "block");
  EXPECT_EQ(json["clean"], false);
  EXPECT_EQ(json["not_scanned"][0]["label"], "photo");
  EXPECT_EQ(json["parts"][1]["state"], "not_scanned");
  EXPECT_EQ(json["categories"][0]["scores"]["text"], 0.7);
  EXPECT_EQ(json["policy"]["hash"].get<std::string>().size(), 16u);
  EXPECT_EQ(json["timings"][0]["level"], "limits");
}

TEST(Guard, TheDecisionsJsonIsUtf8WhateverTheNames) {
  const Made made = make(kBase);
  const auto json = to_json(
      made.guard->check({.id = "\xff",
                         .parts = {Part::image("junk", "\xc3"), Part::url("ftp://\xff", "u\xff")},
                         .tenant = "\xfe"}));
  EXPECT_EQ(json.at("parts").at(0).at("label"), "\uFFFD");
  EXPECT_NO_THROW(json.dump());
}

TEST(Guard, TheShippedPoliciesLoad) {
  for (const char* name : {"strict.toml", "balanced.toml", "shadow.toml"}) {
    GuardOptions options;
    options.audit = false;
    const Guard guard(Policy::load(kPolicies / name), options, Context{});
    const Decision decision = guard.check(
        {.parts = {Part::text("my card is 4111 1111 1111 1111")}, .side = Side::kOutput});
    ASSERT_EQ(decision.rules.size(), 1u) << name;
    EXPECT_EQ(decision.shadow_action,
              name == std::string("strict.toml") ? Action::kBlock : Action::kModify);
    EXPECT_EQ(decision.action == Action::kAllow, name == std::string("shadow.toml"));
  }
}

}  // namespace
}  // namespace parapet::guard
