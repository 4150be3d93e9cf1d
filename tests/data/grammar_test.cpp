#include "parapet/data/grammar.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/data/glyph_table.h"
#include "parapet/text/clip_vocabulary.h"

namespace parapet {
namespace {

enum { kEn, kDe, kFr, kEs, kZh };

int id(std::string_view slug) { return glyph_by_slug(slug); }

constexpr int kRed = 0, kBlue = 3;

CaptionPlan plan(int opening, int core, int place, int ending, int position = 0,
                 bool adjective = false) {
  return {opening, core, place, ending, position, adjective};
}

TEST(Grammar, English) {
  const CaptionContent owl{id("owl"), id("umbrella"), id("castle"), kBlue};
  EXPECT_EQ(write_caption(kEn, owl, plan(1, 0, 2, 2)),
            "a photo of an owl with an umbrella in front of a castle on a blue background");
  CaptionContent armed = owl;
  armed.unsafe = id("bomb");
  EXPECT_EQ(write_caption(kEn, armed, plan(0, 1, 0, 0, 0)),
            "an umbrella next to an owl holding a bomb near a castle on blue");
  EXPECT_EQ(write_caption(kEn, armed, plan(0, 2, 0, 0, 1)),
            "a bomb and an owl and an umbrella near a castle on blue");
  EXPECT_EQ(write_caption(kEn, armed, plan(0, 3, 1, 1, 3)),
            "an owl beside an umbrella by a castle, blue background with a bomb");
  EXPECT_EQ(write_caption(kEn, armed, plan(0, 0, 0, 3, 0, true)),
            "an armed owl with an umbrella near a castle against blue");
}

TEST(Grammar, GermanCasesAndGenders) {
  CaptionContent lion{id("lion"), id("guitar"), id("house"), kRed};
  EXPECT_EQ(write_caption(kDe, lion, plan(1, 0, 0, 2)),
            "ein Foto von einem Löwen mit einer Gitarre bei einem Haus vor rotem Hintergrund");
  lion.unsafe = id("kitchen-knife");
  EXPECT_EQ(write_caption(kDe, lion, plan(4, 2, 1, 1, 0)),
            "hier ist ein Löwe mit einem Messer in der Hand und eine Gitarre vor einem Haus, roter "
            "Hintergrund");
  EXPECT_EQ(write_caption(kDe, lion, plan(4, 1, 1, 0, 0, true)),
            "hier ist eine Gitarre neben einem bewaffneten Löwen vor einem Haus auf rotem Grund");
  const CaptionContent girl{id("girl"), id("key"), -1, kRed, id("crossed-swords")};
  EXPECT_EQ(write_caption(kDe, girl, plan(0, 0, 0, 0, 3)),
            "ein Mädchen mit einem Schlüssel auf rotem Grund mit gekreuzten Schwertern");
  EXPECT_EQ(write_caption(kDe, girl, plan(5, 0, 0, 3, 0, true)),
            "zu sehen ist ein bewaffnetes Mädchen mit einem Schlüssel, Hintergrund rot");
}

TEST(Grammar, FrenchElisionAndAgreement) {
  CaptionContent cow{id("cow"), id("key"), id("church"), kBlue};
  EXPECT_EQ(write_caption(kFr, cow, plan(1, 0, 0, 0)),
            "une photo d'une vache avec une clé près d'une église sur fond bleu");
  cow.unsafe = id("crossed-swords");
  EXPECT_EQ(
      write_caption(kFr, cow, plan(4, 1, 2, 1, 2)),
      "voici une clé à côté d'une vache à côté d'épées croisées devant une église, fond bleu");
  EXPECT_EQ(write_caption(kFr, cow, plan(0, 2, 2, 1, 0, true)),
            "une vache armée et une clé devant une église, fond bleu");
}

TEST(Grammar, SpanishAgreement) {
  CaptionContent princess{id("princess"), id("umbrella"), id("tent"), kRed, id("beer-mug")};
  EXPECT_EQ(
      write_caption(kEs, princess, plan(1, 0, 0, 0, 0)),
      "una foto de una princesa sosteniendo una cerveza con un paraguas cerca de una tienda de "
      "campaña sobre fondo rojo");
  EXPECT_EQ(write_caption(kEs, princess, plan(0, 3, 1, 2, 0, true)),
            "una princesa borracha al lado de un paraguas junto a una tienda de campaña sobre un "
            "fondo rojo");
}

TEST(Grammar, ChineseMeasureWords) {
  CaptionContent horse{id("horse"), id("open-book"), id("school"), kBlue};
  EXPECT_EQ(write_caption(kZh, horse, plan(4, 0, 0, 1)),
            "这是一匹马带着一本书，在一所学校附近，蓝色背景");
  horse.unsafe = id("bomb");
  EXPECT_EQ(write_caption(kZh, horse, plan(0, 2, 0, 0, 0)),
            "拿着一颗炸弹的一匹马和一本书，在一所学校附近，蓝色底");
  EXPECT_EQ(write_caption(kZh, horse, plan(0, 2, 0, 0, 0, true)),
            "一匹持械的马和一本书，在一所学校附近，蓝色底");
}

// Every placeholder is filled in every combination, and no language leaves a word empty.
TEST(Grammar, EveryCaptionIsComplete) {
  Random random(3);
  for (int language = 0; language < kLanguages; ++language) {
    for (int glyph = 0; glyph < kGlyphs; ++glyph) EXPECT_FALSE(glyph_word(language, glyph).empty());
    for (int i = 0; i < 2000; ++i) {
      CaptionContent content;
      content.subject = static_cast<int>(random.below(kSubjects));
      content.object = kFirstSafe + static_cast<int>(random.below(kObjects));
      content.place = random.below(2) ? kFirstPlace + static_cast<int>(random.below(kPlaces)) : -1;
      content.colour = static_cast<int>(random.below(kColours));
      content.unsafe =
          random.below(2) ? kFirstUnsafe + static_cast<int>(random.below(kObjects)) : -1;
      const std::string text = write_caption(language, content, draw_plan(random));
      ASSERT_EQ(text.find_first_of("{}"), std::string::npos) << text;
      ASSERT_EQ(text.find("  "), std::string::npos) << text;
      ASSERT_EQ(trim(text), text);
    }
  }
}

TEST(Grammar, EnglishCaptionsFitThirtyOneTokens) {
  const auto file =
      std::filesystem::path(PARAPET_SOURCE_DIR) / ".cache/assets/bpe_simple_vocab_16e6.txt.gz";
  const auto tokenizer = load_clip_tokenizer(file);
  // The longest word for each role, then every plan.
  const auto tokens = [&](const std::string& text) { return tokenizer->encode(text).size(); };
  const auto longest = [&](int first, int count) {
    int best = first;
    for (int glyph = first; glyph < first + count; ++glyph)
      if (tokens(glyph_phrase(kEn, glyph)) > tokens(glyph_phrase(kEn, best))) best = glyph;
    return best;
  };
  CaptionContent content{longest(0, kSubjects), longest(kFirstSafe, kObjects),
                         longest(kFirstPlace, kPlaces), 0, longest(kFirstUnsafe, kObjects)};
  size_t most = 0;
  for (int opening = 0; opening < 6; ++opening)
    for (int core = 0; core < 4; ++core)
      for (int place = 0; place < 3; ++place)
        for (int ending = 0; ending < 4; ++ending)
          for (int position = 0; position < 4; ++position)
            for (int colour = 0; colour < kColours; ++colour) {
              content.colour = colour;
              const auto text =
                  write_caption(kEn, content, plan(opening, core, place, ending, position));
              most = std::max(most, tokens(text));
            }
  EXPECT_LE(most, 31u);
  EXPECT_GE(most, 24u);  // it was the longest kind of caption that was measured
}

// The vocabulary against emojibase's labels and keywords: our word for a glyph should be among them
// (a few art sets show something more specific than the label).
TEST(Grammar, WordsAgreeWithEmojibase) {
  const std::filesystem::path root = std::filesystem::path(PARAPET_SOURCE_DIR) / "node_modules";
  const auto chars = load_json(root / "@iconify-json/noto/chars.json");
  std::map<std::string, std::string> code_of;
  const auto bare = [](std::string code) {
    code = to_lower_ascii(code);
    if (const size_t at = code.find("-fe0f"); at != std::string::npos) code.erase(at, 5);
    return code;
  };
  for (const auto& [code, slug] : chars.items())
    code_of.emplace(slug.get<std::string>(), bare(code));
  for (int language = 0; language < kLanguages; ++language) {
    const std::string code(language_code(language));
    std::map<std::string, std::string> known;  // code point -> label and keywords
    for (const auto& entry : load_json(root / "emojibase-data" / code / "data.json")) {
      std::string words = entry["label"];
      if (entry.contains("tags"))
        for (const auto& tag : entry["tags"]) words += "|" + tag.get<std::string>();
      known[bare(entry["hexcode"])] = to_lower_ascii(words);
    }
    int agreeing = 0;
    for (int glyph = 0; glyph < kGlyphs; ++glyph) {
      const std::string words = known[code_of[std::string(glyph_slug(glyph))]];
      ASSERT_FALSE(words.empty()) << glyph_slug(glyph);
      agreeing += words.find(to_lower_ascii(glyph_word(language, glyph))) != std::string::npos;
    }
    EXPECT_GE(agreeing, 70) << code << " of " << kGlyphs;
  }
}

}  // namespace
}  // namespace parapet
