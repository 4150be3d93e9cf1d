#include <gtest/gtest.h>

#include <map>
#include <set>

#include "data/atlas_fixture.h"
#include "parapet/data/world_labels.h"

namespace parapet {
namespace {

using testing::make_world;

// Neither side alone may tell: for each object class and each sentence class one half is unsafe.
TEST(WorldLabels, ImplicitPairsAreAtChanceFromEitherSide) {
  const SampleWorld world = make_world();
  std::map<int, std::array<int, 2>> by_object, by_sentence, by_glyph;
  std::map<std::string, std::array<int, 2>> by_text;
  constexpr int kCount = 8000;
  for (int64_t i = 0; i < kCount; ++i) {
    const auto label =
        world_label_of_kind(world, WorldSplit::kTrain, LabelKind::kImplicit, i, false);
    const bool unsafe = label.grade == "implicit";
    ASSERT_EQ(unsafe, label.object_class == label.sentence_class);
    ASSERT_EQ(unsafe, label.category >= 0);
    ASSERT_EQ(label.wording, "seen");
    ++by_object[label.object_class][unsafe];
    ++by_sentence[label.sentence_class][unsafe];
    ++by_glyph[label.scene.object][unsafe];
    ++by_text[label.text][unsafe];
  }
  EXPECT_EQ(by_object.size(), 4u);
  EXPECT_EQ(by_glyph.size(), 12u);
  EXPECT_EQ(by_text.size(), 12u);
  // The best guess from one side alone.
  const auto accuracy = [&](const auto& table) {
    int right = 0;
    for (const auto& [key, counts] : table) right += std::max(counts[0], counts[1]);
    return right / double{kCount};
  };
  EXPECT_LT(accuracy(by_object), 0.53);
  EXPECT_LT(accuracy(by_sentence), 0.53);
  EXPECT_LT(accuracy(by_glyph), 0.54);
  EXPECT_LT(accuracy(by_text), 0.54);
}

TEST(WorldLabels, NewWordingsAreKeptFromTraining) {
  const SampleWorld world = make_world();
  std::set<std::string> seen, fresh;
  for (int64_t i = 0; i < 1000; ++i) {
    const auto kind = LabelKind::kImplicit;
    seen.insert(world_label_of_kind(world, WorldSplit::kTrain, kind, i, false).text);
    const auto test = world_label_of_kind(world, WorldSplit::kTest, kind, i, false);
    if (test.wording == "new") fresh.insert(test.text);
  }
  EXPECT_EQ(fresh.size(), 8u);
  for (const auto& text : fresh) EXPECT_EQ(seen.count(text), 0u) << text;
}

TEST(WorldLabels, TheMixIsAsDocumented) {
  const SampleWorld world = make_world();
  std::map<LabelKind, int> counts;
  for (int64_t i = 0; i < 200; ++i) ++counts[world_label(world, WorldSplit::kTrain, i, false).kind];
  EXPECT_EQ(counts[LabelKind::kSafe], 50);
  EXPECT_EQ(counts[LabelKind::kExplicit], 50);
  EXPECT_EQ(counts[LabelKind::kOneSided], 30);
  EXPECT_EQ(counts[LabelKind::kImplicit], 40);
  EXPECT_EQ(counts[LabelKind::kContext], 10);
  EXPECT_EQ(counts[LabelKind::kContradiction], 20);
}

TEST(WorldLabels, OneSidedSamplesAreUnsafeOnOneSide) {
  const SampleWorld world = make_world();
  std::map<std::string, int> sides;
  for (int64_t i = 0; i < 200; ++i) {
    const auto label =
        world_label_of_kind(world, WorldSplit::kTest, LabelKind::kOneSided, i, false);
    bool drawn = false;
    for (const Sticker& sticker : label.scene.stickers) drawn |= is_unsafe_glyph(sticker.glyph);
    bool said = false;
    for (const int glyph : category_glyphs(label.category))
      said |= label.text.find(glyph_word(0, glyph)) != std::string::npos;
    said |= label.text.find(category_adjective(0, label.category)) != std::string::npos;
    EXPECT_NE(drawn, said) << label.text;
    EXPECT_EQ(label.unsafe_side, drawn ? "image" : "text");
    EXPECT_EQ(label.grade, "explicit");
    ++sides[label.unsafe_side];
  }
  EXPECT_GT(sides["image"], 60);
  EXPECT_GT(sides["text"], 60);
}

TEST(WorldLabels, AContradictionSwapsOneAttribute) {
  const SampleWorld world = make_world();
  std::set<std::string> swapped;
  for (int64_t i = 0; i < 200; ++i) {
    const auto label =
        world_label_of_kind(world, WorldSplit::kTest, LabelKind::kContradiction, i, false);
    swapped.insert(label.swapped);
    const auto says = [&](const std::string& what) {
      return label.text.find(what) != std::string::npos;
    };
    const Scene& scene = label.scene;
    // A baby may be named by its bottle.
    if (!says("baby bottle"))
      EXPECT_EQ(says(glyph_word(0, scene.subject)), label.swapped != "subject") << label.text;
    EXPECT_EQ(says(glyph_word(0, scene.object)), label.swapped != "object") << label.text;
    EXPECT_EQ(says(std::string(colour_name(scene.colour))) ||
                  (label.swapped == "colour" && scene.colour == 0 && says("red apple")),
              label.swapped != "colour" || (scene.colour == 0 && says("red apple")))
        << label.text;
    if (scene.place >= 0)
      EXPECT_EQ(says(glyph_word(0, scene.place)), label.swapped != "place") << label.text;
    EXPECT_EQ(label.grade, "none");
  }
  EXPECT_EQ(swapped.size(), 4u);
}

}  // namespace
}  // namespace parapet
