#include "parapet/data/world.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "data/atlas_fixture.h"
#include "parapet/core/error.h"
#include "parapet/core/files.h"

namespace parapet {
namespace {

using testing::make_world;

TEST(SampleWorld, IsAPureFunctionOfSeedSplitAndIndex) {
  const SampleWorld one = make_world(7), same = make_world(7), other = make_world(8);
  int differing = 0;
  for (const int64_t index : {5, 0, 3}) {
    const auto a = one.quadruplet(WorldSplit::kTrain, index);
    const auto b = same.quadruplet(WorldSplit::kTrain, index);
    EXPECT_EQ(a.safe_image.rgb, b.safe_image.rgb);
    EXPECT_EQ(a.unsafe_image.rgb, b.unsafe_image.rgb);
    EXPECT_EQ(a.unsafe_text, b.unsafe_text);
    differing += a.safe_image.rgb != other.quadruplet(WorldSplit::kTrain, index).safe_image.rgb;
  }
  EXPECT_EQ(differing, 3);
  EXPECT_NE(one.caption(WorldSplit::kTrain, 1).text, one.caption(WorldSplit::kVal, 1).text);
}

// Bytes that must never change for a seed: on an atlas made of numbers, so that the version of the
// SVG renderer does not matter.
TEST(SampleWorld, GoldenScenes) {
  std::vector<uint8_t> pictures(size_t{kStyles} * kGlyphs * kGlyphBase * kGlyphBase * 4);
  for (size_t i = 0; i < pictures.size(); i += 4) {
    const size_t pixel = i / 4;
    pictures[i + 3] = static_cast<uint8_t>(pixel % 64 * 4 + 3);
    for (size_t c = 0; c < 3; ++c)
      pictures[i + c] = static_cast<uint8_t>((pixel / 4096 * 37 + c * 50) % (pictures[i + 3] + 1u));
  }
  const SampleWorld world({}, GlyphAtlas::from_base(pictures));
  Sha256 hash;
  for (const WorldSplit split : kWorldSplits)
    for (int64_t i = 0; i < 5; ++i) {
      const auto q = world.quadruplet(split, i);
      const auto c = world.caption(split, i);
      for (const Image* image : {&q.safe_image, &q.unsafe_image, &c.image})
        hash.update({reinterpret_cast<const char*>(image->rgb.data()), image->rgb.size()});
      hash.update(q.safe_text).update(q.unsafe_text).update(c.text);
    }
  EXPECT_EQ(hash.hex(), "9050a77ab367c74590cb93a38e7643e017641edb4e74cafcd1db5a8b64381415");
  EXPECT_EQ(world.quadruplet(WorldSplit::kTest, 0).unsafe_text,
            "a dog and a coffee next to a bomb on a purple background");
}

TEST(SampleWorld, CategoriesAreBalancedExactly) {
  const SampleWorld world = make_world();
  for (const WorldSplit split : kWorldSplits) {
    std::array<int, kCategories> counts{};
    for (int64_t i = 0; i < 210; ++i) {
      const auto sample = world.quadruplet(split, i, false);
      ++counts[static_cast<size_t>(sample.category)];
      EXPECT_EQ(glyph_category(sample.unsafe_scene.unsafe), sample.category);
    }
    for (const int count : counts) EXPECT_EQ(count, 30) << split_name(split);
  }
}

TEST(SampleWorld, SharesAreAsAsked) {
  const SampleWorld world = make_world();
  int replaced = 0, placed = 0, adjectives = 0, single = 0, unsafe = 0;
  constexpr int kCount = 4000;
  for (int64_t i = 0; i < kCount; ++i) {
    const auto sample = world.quadruplet(WorldSplit::kTrain, i, false);
    replaced += sample.replaced;
    placed += sample.safe_scene.place >= 0;
    adjectives += sample.plan.adjective;
    const auto caption = world.caption(WorldSplit::kTrain, i, false);
    single += caption.scene.object < 0;
    unsafe += caption.scene.object >= 0 && caption.scene.unsafe >= 0;
  }
  // Five standard deviations of a share near one half are .04 here.
  EXPECT_NEAR(replaced / double{kCount}, 0.20, 0.04);
  EXPECT_NEAR(placed / double{kCount}, 0.60, 0.04);
  EXPECT_NEAR(adjectives / double{kCount}, 0.15, 0.04);
  EXPECT_NEAR(single / double{kCount}, 0.30, 0.04);
  EXPECT_NEAR(unsafe / double{kCount}, 0.35, 0.04);
}

TEST(SampleWorld, NothingHeldLeaksIntoTraining) {
  const SampleWorld world = make_world();
  const auto check = [](const Scene& scene) {
    for (const Sticker& sticker : scene.stickers) ASSERT_NE(sticker.style, kHeldStyle);
    if (scene.object < 0) return;
    ASSERT_FALSE(is_held_combination(scene.subject, scene.object));
    if (scene.unsafe >= 0) ASSERT_FALSE(is_held_combination(scene.subject, scene.unsafe));
  };
  for (int64_t i = 0; i < 5000; ++i) {
    check(world.caption(WorldSplit::kTrain, i, false).scene);
    const auto sample = world.quadruplet(WorldSplit::kTrain, i, false);
    check(sample.safe_scene);
    check(sample.unsafe_scene);
  }
}

TEST(SampleWorld, TestScenesAreHeldAndUnique) {
  const SampleWorld world = make_world();
  std::set<std::pair<int, int>> validation, test;
  for (const WorldSplit split : {WorldSplit::kVal, WorldSplit::kTest, WorldSplit::kTestHeldStyle}) {
    std::set<std::tuple<int, int, int, int>> seen;
    const int64_t count = std::min<int64_t>(world.capacity(split), 1200);
    EXPECT_GE(count, split == WorldSplit::kVal ? 300 : 1000);
    for (int64_t i = 0; i < count; ++i) {
      const auto s = world.quadruplet(split, i, false).safe_scene;
      ASSERT_TRUE(is_held_combination(s.subject, s.object));
      ASSERT_TRUE(seen.insert({s.subject, s.object, s.place, s.colour}).second) << i;
      (split == WorldSplit::kVal ? validation : test).insert({s.subject, s.object});
      for (const Sticker& sticker : s.stickers)
        ASSERT_EQ(sticker.style == kHeldStyle, split == WorldSplit::kTestHeldStyle);
    }
  }
  for (const auto& pair : validation) EXPECT_EQ(test.count(pair), 0u);
  EXPECT_THROW(world.quadruplet(WorldSplit::kTest, world.capacity(WorldSplit::kTest)), UsageError);
}

// Bounding box of the injected glyph; everything outside must be equal.
TEST(SampleWorld, AnInjectedTwinDiffersInTheFreeQuadrantAlone) {
  const SampleWorld world = make_world();
  int injected = 0;
  for (int64_t i = 0; i < 60; ++i) {
    const auto sample = world.quadruplet(WorldSplit::kTest, i);
    const auto& safe = sample.safe_scene.stickers;
    const auto& unsafe = sample.unsafe_scene.stickers;
    const Sticker& extra = sample.replaced ? unsafe[1] : unsafe.back();
    if (!sample.replaced) {
      ++injected;
      ASSERT_EQ(unsafe.size(), safe.size() + 1);
      for (const Sticker& other : safe) ASSERT_NE(other.quadrant, extra.quadrant);
    } else {
      ASSERT_EQ(unsafe.size(), safe.size());
      for (const Sticker& other : unsafe) ASSERT_NE(other.glyph, sample.safe_scene.object);
    }
    int changed = 0;
    for (int y = 0; y < kSceneSize; ++y)
      for (int x = 0; x < kSceneSize; ++x) {
        const size_t at = (static_cast<size_t>(y) * kSceneSize + static_cast<size_t>(x)) * 3;
        const bool same = std::equal(&sample.safe_image.rgb[at], &sample.safe_image.rgb[at] + 3,
                                     &sample.unsafe_image.rgb[at]);
        const bool inside = x >= extra.left && x < extra.left + extra.size && y >= extra.top &&
                            y < extra.top + extra.size;
        changed += !same;
        if (!inside) ASSERT_TRUE(same) << i << ": " << x << "," << y;
      }
    EXPECT_GT(changed, 20);
    // At most 3 pixels reach over the quadrant's edge.
    EXPECT_GE(extra.left, extra.quadrant % 2 == 0 ? 0 : 29);
    EXPECT_LE(extra.left + extra.size, extra.quadrant % 2 == 0 ? 35 : 64);
  }
  EXPECT_GT(injected, 30);
}

TEST(SampleWorld, TheUnsafeCaptionIsTheSafeOnePlusThePhrase) {
  const SampleWorld world = make_world();
  int adjectives = 0;
  for (int64_t i = 0; i < 300; ++i) {
    const auto s = world.quadruplet(WorldSplit::kTrain, i, false);
    const int glyph = s.unsafe_scene.unsafe;
    std::string expected = s.unsafe_text;
    const auto replace_all = [&](const std::string& what, const std::string& with) {
      const size_t at = expected.find(what);
      if (at == std::string::npos) return false;
      expected.replace(at, what.size(), with);
      return true;
    };
    const std::string phrase = glyph_phrase(0, glyph);
    if (s.replaced) {
      EXPECT_TRUE(replace_all(phrase, glyph_phrase(0, s.safe_scene.object)));
    } else if (s.plan.adjective) {
      ++adjectives;
      const std::string word = category_adjective(0, s.category) + " ";
      EXPECT_TRUE(replace_all("an " + word + glyph_word(0, s.safe_scene.subject),
                              glyph_phrase(0, s.safe_scene.subject)) ||
                  replace_all("a " + word + glyph_word(0, s.safe_scene.subject),
                              glyph_phrase(0, s.safe_scene.subject)));
    } else {
      EXPECT_TRUE(replace_all(" holding " + phrase, "") || replace_all(phrase + " and ", "") ||
                  replace_all(" next to " + phrase, "") || replace_all(" with " + phrase, ""));
    }
    EXPECT_EQ(expected, s.safe_text) << s.unsafe_text;
  }
  EXPECT_GT(adjectives, 10);
}

TEST(SampleWorld, CaptionsListWhatIsDrawn) {
  const SampleWorld world = make_world();
  for (int64_t i = 0; i < 300; ++i) {
    const auto sample = world.caption(WorldSplit::kTrain, i, false);
    int drawn = 0;
    for (const auto flag : sample.drawn) drawn += flag;
    ASSERT_EQ(static_cast<size_t>(drawn), sample.scene.stickers.size()) << sample.text;
    for (const Sticker& sticker : sample.scene.stickers) {
      const bool named = sample.text.find(glyph_word(0, sticker.glyph)) != std::string::npos;
      const bool by_adjective = sticker.glyph == sample.scene.unsafe &&
                                sample.text.find(category_adjective(
                                    0, glyph_category(sticker.glyph))) != std::string::npos;
      EXPECT_TRUE(named || by_adjective) << sample.text << " lacks " << glyph_slug(sticker.glyph);
    }
  }
}

TEST(SampleWorld, RefusesBadOptions) {
  WorldOptions options;
  options.languages = {"en", "xx"};
  EXPECT_THROW(SampleWorld(options, testing::shared_atlas()), UsageError);
  options = {};
  options.caption_single = 0.9;
  options.caption_unsafe = 0.9;
  EXPECT_THROW(SampleWorld(options, testing::shared_atlas()), UsageError);
}

}  // namespace
}  // namespace parapet
