// What a picture shows on one ground and not on another is looked at on each, and never called
// clean for want of looking.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>

#include "parapet/core/files.h"
#include "parapet/guard/frames.h"
#include "parapet/guard/guard.h"
#include "parapet/guard/hash_lists.h"
#include "support/temp_folder.h"

namespace parapet::guard {
namespace {

const std::filesystem::path kPolicies = std::filesystem::path(PARAPET_SOURCE_DIR) / "policies";
constexpr int64_t kSide = 64;

using Pixel = std::array<uint8_t, 4>;
std::string rgba_png(const std::function<Pixel(int64_t x, int64_t y)>& at) {
  std::vector<uint8_t> rgba;
  for (int64_t y = 0; y < kSide; ++y)
    for (int64_t x = 0; x < kSide; ++x) {
      const Pixel pixel = at(x, y);
      rgba.insert(rgba.end(), pixel.begin(), pixel.end());
    }
  return encode_png_rgba(rgba, kSide, kSide);
}

// The secret: some waves of levels, enough detail for PDQ.
uint8_t secret(int64_t x, int64_t y) {
  return static_cast<uint8_t>((x * x / 9 + y * 7 + (x / 9 + y / 5) % 3 * 60) % 256);
}
Image secret_image() {
  Image image{kSide, kSide, {}};
  for (int64_t y = 0; y < kSide; ++y)
    for (int64_t x = 0; x < kSide; ++x) image.rgb.insert(image.rgb.end(), 3, secret(x, y));
  return image;
}

// Finds harm in every picture of more than one colour.
class ShapeSignal final : public Signal {
 public:
  std::string failing_view;  // what it fails on
  std::vector<std::string> seen;
  std::string name() const override { return "shape"; }
  std::string version() const override { return "1"; }
  bool scans(Modality modality) const override { return modality == Modality::kImage; }
  std::vector<std::string> categories() const override { return {"weapon"}; }
  void score(const SignalInput& input, SignalOutput& output) override {
    for (const PreparedPart& part : input.parts) {
      seen.push_back(part.view);
      if (!failing_view.empty() && part.view == failing_view) {
        output.failures.push_back({part.part, "signal", "overloaded", "", Action::kAllow, {}});
        continue;
      }
      output.scanned.push_back(part.part);
      const auto& rgb = part.image->rgb;
      const bool shape =
          std::any_of(rgb.begin(), rgb.end(), [&](uint8_t level) { return level != rgb[0]; });
      Score score;
      score.category = "weapon";
      score.modality = Modality::kImage;
      score.part = part.part;
      score.value = shape ? 0.95 : 0.01;
      score.signal = "shape";
      score.view = part.view;
      output.scores.push_back(score);
    }
  }
};

Decision check(const std::string& picture, const std::shared_ptr<ShapeSignal>& signal,
               const std::string& toml = "[category.weapon]\nblock = 0.9\n") {
  GuardOptions options;
  options.signals = {signal};
  const Guard guard(Policy::parse(toml, "p.toml", kPolicies), options, Context{});
  return guard.check({.parts = {Part::image(picture)}});
}

TEST(GuardViews, APictureDrawnInAlphaOnlyIsSeen) {
  const auto signal = std::make_shared<ShapeSignal>();
  const Decision decision = check(rgba_png([](int64_t x, int64_t y) {
                                    return Pixel{255, 255, 255, secret(x, y)};
                                  }),
                                  signal);
  EXPECT_EQ(decision.action, Action::kBlock);
  EXPECT_FALSE(decision.clean());
  ASSERT_EQ(decision.scores.size(), 1U);  // of several views the highest
  EXPECT_EQ(decision.scores[0].view, "black");
  EXPECT_EQ(decision.parts[0].views, std::vector<std::string>{"black"});
}

TEST(GuardViews, ColoursOfTransparentPixelsAreSeen) {
  const auto signal = std::make_shared<ShapeSignal>();
  const Decision decision = check(rgba_png([](int64_t x, int64_t y) {
                                    return Pixel{secret(x, y), 0, 0, 0};
                                  }),
                                  signal);
  EXPECT_EQ(decision.action, Action::kBlock);
  EXPECT_EQ(decision.scores.at(0).view, "opaque");
}

TEST(GuardViews, OpaqueAndEmptyPicturesAreLookedAtOnce) {
  const auto signal = std::make_shared<ShapeSignal>();
  EXPECT_TRUE(check(rgba_png([](int64_t, int64_t) {
                      return Pixel{9, 9, 9, 255};
                    }),
                    signal)
                  .clean());
  EXPECT_TRUE(check(rgba_png([](int64_t, int64_t) { return Pixel{0, 0, 0, 0}; }), signal).clean());
  EXPECT_EQ(signal->seen, (std::vector<std::string>{"", ""}));
}

TEST(GuardViews, AViewThatCouldNotBeLookedAtIsNotClean) {
  const auto signal = std::make_shared<ShapeSignal>();
  signal->failing_view = "black";
  const Decision decision = check(rgba_png([](int64_t x, int64_t y) {
                                    return Pixel{255, 255, 255, secret(x, y)};
                                  }),
                                  signal);
  EXPECT_FALSE(decision.clean());
  EXPECT_EQ(decision.parts[0].state, ScanState::kPartly);
  EXPECT_EQ(decision.not_scanned.size(), 1U);
}

TEST(GuardViews, KnownPicturesAreFoundInEveryView) {
  const parapet::test::TempFolder folder;
  write_file_atomic(folder / "known.csv",
                    "id,hash\ncase-1," + pdq_hash(secret_image()).hash.hex() + "\n");
  const Policy policy = Policy::parse("[[hash.list]]\nname = 'known'\nkind = 'pdq'\nfile = '" +
                                          (folder / "known.csv").string() +
                                          "'\ncategory = 'weapon'\naction = 'block'\n",
                                      "p.toml", kPolicies);
  const Guard guard(policy, {}, Context{});
  const auto view_of = [&](const std::string& picture) -> std::string {
    const Decision decision = guard.check({.parts = {Part::image(picture)}});
    EXPECT_EQ(decision.action, Action::kBlock) << decision.reason;
    EXPECT_EQ(decision.rules.size(), 1U);
    return decision.rules.empty() ? "none" : decision.rules[0].view;
  };
  EXPECT_EQ(view_of(encode_png(secret_image())), "");
  EXPECT_EQ(view_of(rgba_png([](int64_t x, int64_t y) {
              return Pixel{255, 255, 255, secret(x, y)};
            })),
            "black");
  EXPECT_EQ(view_of(rgba_png([](int64_t x, int64_t y) {
              return Pixel{secret(x, y), secret(x, y), secret(x, y), uint8_t(x == 0 ? 1 : 0)};
            })),
            "opaque");
  // Grey on grey: faint on every ground, whole in the alpha channel.
  EXPECT_EQ(view_of(rgba_png([](int64_t x, int64_t y) {
              const auto level = uint8_t((x / 3 + y / 3) % 2 == 0 ? 0 : 255);
              return Pixel{level, level, level, secret(x, y)};
            })),
            "alpha");
}

TEST(GuardViews, WhatIsHandedOutChangedIsOpaque) {
  const auto signal = std::make_shared<ShapeSignal>();
  const Decision decision = check(rgba_png([](int64_t x, int64_t y) {
                                    return Pixel{255, 255, 255, secret(x, y)};
                                  }),
                                  signal, "[category.weapon]\nblock = 0.9\naction = 'modify'\n");
  EXPECT_EQ(decision.action, Action::kModify);
  ASSERT_EQ(decision.modified.size(), 1U);
  const Image shown = decode_image(decision.modified[0].content, "png");
  EXPECT_TRUE(std::all_of(shown.rgb.begin(), shown.rgb.end(), [](uint8_t v) { return v == 255; }));
}

// Readers skip what stands between blocks.
TEST(GuardViews, FramesBehindStrayBytesCount) {
  const std::string head("GIF89a\1\0\1\0\0\0\0", 13);
  const std::string frame(",\0\0\0\0\1\0\1\0\0\2\2L\1\0", 15);
  EXPECT_FALSE(has_more_frames(head + frame + ";" + frame));
  EXPECT_FALSE(has_more_frames(head + frame + std::string("\0\0;", 3)));
  EXPECT_TRUE(has_more_frames(head + frame + std::string(1, '\0') + frame + ";"));
}

}  // namespace
}  // namespace parapet::guard
