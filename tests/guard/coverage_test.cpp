// What limits leave out of a request: never what is newest, and never without a word.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "guard/guard_fixture.h"
#include "parapet/core/strings.h"
#include "parapet/guard/guard.h"

namespace parapet::guard {
namespace {

using test::FakeSignal;
using test::grey_png;

class Coverage : public testing::Test {
 protected:
  Coverage() {
    signal_->text_scores = {{"weapon", 0.95}};
    signal_->image_scores = {{"weapon", 0.95}};
  }
  std::unique_ptr<Guard> guard(const std::string& limits) const {
    return std::make_unique<Guard>(
        Policy::parse("[limits]\nfail='flag'\n" + limits +
                          "[[rules.list]]\nname='threats'\nentries=['i will hurt you']\n"
                          "category='harassment'\naction='block'\n[category.weapon]\nflag=0.5\n",
                      "p.toml", std::filesystem::path(PARAPET_SOURCE_DIR) / "policies"),
        GuardOptions{.signals = {signal_}}, Context{});
  }
  // Labels of what was not scanned at all or not by all levels.
  static std::vector<std::string> left_out(const Decision& decision) {
    std::vector<std::string> labels;
    for (const PartResult& part : decision.parts)
      if (part.state != ScanState::kScanned) labels.push_back(part.label);
    return labels;
  }
  std::shared_ptr<FakeSignal> signal_ = std::make_shared<FakeSignal>();
};

TEST_F(Coverage, TheNewestPartsOfEachKindAreLookedAt) {
  GuardRequest request;
  for (int i = 0; i < 6; ++i) request.parts.push_back(Part::text("fine", "t" + std::to_string(i)));
  for (int i = 0; i < 20; ++i)
    request.parts.push_back(Part::image(grey_png(10), "i" + std::to_string(i)));
  request.parts[5].content = "harm";
  request.parts.back() = Part::image(grey_png(200), "i19");
  const Decision decision = guard("max_parts=4\n")->check(request);
  const auto state = [&](size_t part) { return decision.parts[part].state; };
  EXPECT_EQ(state(4), ScanState::kScanned);
  EXPECT_EQ(state(5), ScanState::kScanned);
  EXPECT_EQ(state(24), ScanState::kScanned);
  EXPECT_EQ(state(25), ScanState::kScanned);
  EXPECT_EQ(left_out(decision).size(), 22u);
  EXPECT_EQ(decision.not_scanned.size(), 22u);
  for (const ScanFailure& failure : decision.not_scanned)
    EXPECT_EQ(failure.reason, "too_many_parts");
  EXPECT_EQ(decision.parts[5].action, Action::kFlag);
  EXPECT_EQ(decision.parts[25].action, Action::kFlag);
  // The caller's own limit acts where it is the tighter one.
  request.max_parts = 2;
  EXPECT_EQ(left_out(guard("max_parts=4\n")->check(request)).size(), 24u);
  EXPECT_EQ(guard("max_parts=4\n")->check(request).not_scanned[0].detail,
            "2 parts are looked at, the newest");
  request.max_parts = 400;
  EXPECT_EQ(left_out(guard("max_parts=4\n")->check(request)).size(), 22u);
  // Room that one kind leaves is the other's.
  request.parts.resize(7);
  EXPECT_EQ(left_out(guard("max_parts=4\n")->check(request)),
            (std::vector<std::string>{"t0", "t1", "t2"}));
}

// However long the conversation: lists read all of it.
TEST_F(Coverage, ListsReadTextsPastTheNumberOfParts) {
  for (const size_t at : {size_t{0}, size_t{40}, size_t{99}}) {
    GuardRequest request;
    for (int i = 0; i < 100; ++i) request.parts.push_back(Part::text("hello there"));
    request.parts[at].content = "I will hurt you";
    const Decision decision = guard("max_parts=32\nstop_on_block=false\n")->check(request);
    EXPECT_EQ(decision.action, Action::kBlock) << at;
    EXPECT_EQ(decision.parts[at].action, Action::kBlock) << at;
    EXPECT_EQ(decision.parts[0].state, ScanState::kPartly);
    EXPECT_EQ(decision.parts[99].state, ScanState::kScanned);
    EXPECT_FALSE(decision.complete);
  }
}

TEST_F(Coverage, WhatNothingReadsIsSaid) {
  const Decision decision = guard("")->check(
      {.parts = {Part::text("hello"), Part::unread("input_audio", "messages[0].content[1]")}});
  ASSERT_EQ(decision.not_scanned.size(), 1u);
  EXPECT_EQ(decision.not_scanned[0].reason, "unsupported_type");
  EXPECT_EQ(decision.not_scanned[0].part, 1);
  EXPECT_NE(decision.not_scanned[0].detail.find("input_audio"), std::string::npos);
  EXPECT_EQ(decision.parts[1].state, ScanState::kNotScanned);
  EXPECT_EQ(decision.action, Action::kFlag);
  EXPECT_FALSE(decision.clean());
  const nlohmann::ordered_json json = to_json(decision);
  EXPECT_EQ(json["parts"][1]["modality"], "other");
  EXPECT_EQ(json["parts"][1]["type"], "input_audio");
}

TEST_F(Coverage, APixelLimitLeavesOutTheOldestPictures) {
  const auto made = guard("max_request_pixels=3000\n");
  GuardRequest request;
  for (int i = 0; i < 4; ++i)
    request.parts.push_back(Part::image(grey_png(i == 3 ? 200 : 10), "i" + std::to_string(i)));
  const Decision decision = made->check(request);
  EXPECT_EQ(left_out(decision), (std::vector<std::string>{"i0", "i1"}));
  EXPECT_EQ(decision.parts[3].action, Action::kFlag);
}

TEST_F(Coverage, BareBase64IsReadAsItIs) {
  const std::string png = grey_png(200);
  const Decision good = guard("")->check({.parts = {Part::base64(base64_encode(png))}});
  EXPECT_EQ(good.parts[0].state, ScanState::kScanned);
  EXPECT_EQ(good.parts[0].sha256, guard("")->check({.parts = {Part::image(png)}}).parts[0].sha256);
  const Decision bad = guard("")->check({.parts = {Part::base64("@@@@")}});
  EXPECT_EQ(bad.not_scanned.at(0).reason, "bad_base64");
  const Decision large =
      guard("max_image_bytes=16\n")->check({.parts = {Part::base64(base64_encode(png))}});
  EXPECT_EQ(large.not_scanned.at(0).reason, "too_large");
}

}  // namespace
}  // namespace parapet::guard
