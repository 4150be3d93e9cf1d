#include "parapet/data/glyphs.h"

#include <gtest/gtest.h>

#include <fstream>

#include "data/atlas_fixture.h"
#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/data/icon_set.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

void write_set(const std::filesystem::path& assets, const std::string& name,
               const std::string& json) {
  std::filesystem::create_directories(icon_file(assets, name).parent_path());
  write_file_atomic(icon_file(assets, name), json);
}

// A red square in the left half of a 16 x 16 icon, an alias that flips it, one that turns it.
constexpr std::string_view kIcons = R"({"prefix": "t", "width": 16, "height": 16,
  "icons": {"left": {"body": "<path fill='#f00' d='M0 0h8v16H0z'/>"},
            "wide": {"body": "<path fill='#00f' d='M0 0h32v16H0z'/>", "width": 32}},
  "aliases": {"right": {"parent": "left", "hFlip": true},
              "same": {"parent": "right", "hFlip": true},
              "top": {"parent": "left", "rotate": 1}, "loop": {"parent": "loop"}}})";

TEST(IconSet, AliasesFlipAndTurn) {
  const test::TempFolder folder;
  write_set(folder.path(), "t", std::string(kIcons));
  const IconSet set = IconSet::open(folder.path(), "t");
  const auto red_at = [&](std::string_view slug, int x, int y) {
    const auto pixels = rasterise_svg(set.svg(slug), 16, slug);
    return pixels[static_cast<size_t>(y * 16 + x) * 4] == 255;
  };
  EXPECT_TRUE(red_at("left", 2, 8) && !red_at("left", 12, 8));
  EXPECT_TRUE(red_at("right", 12, 8) && !red_at("right", 2, 8));
  EXPECT_TRUE(red_at("same", 2, 8) && !red_at("same", 12, 8));
  EXPECT_TRUE(red_at("top", 8, 2) && !red_at("top", 8, 12));
}

TEST(IconSet, KeepsTheAspectOfAWideIcon) {
  const test::TempFolder folder;
  write_set(folder.path(), "t", std::string(kIcons));
  const auto pixels = rasterise_svg(IconSet::open(folder.path(), "t").svg("wide"), 16, "wide");
  EXPECT_EQ(pixels[(1 * 16 + 8) * 4 + 3], 0);    // above: empty
  EXPECT_EQ(pixels[(8 * 16 + 8) * 4 + 3], 255);  // the middle band: drawn
}

TEST(IconSet, RefusesBadInput) {
  const test::TempFolder folder;
  write_set(folder.path(), "t", std::string(kIcons));
  const IconSet set = IconSet::open(folder.path(), "t");
  EXPECT_THROW(set.svg("absent"), DataError);
  EXPECT_THROW(set.svg("loop"), DataError);
  EXPECT_THROW(rasterise_svg("<svg", 16, "x"), DataError);
  EXPECT_THROW(rasterise_svg("", 16, "x"), DataError);
  write_set(folder.path(), "u", R"({"icons": []})");
  EXPECT_THROW(IconSet::open(folder.path(), "u"), DataError);
}

TEST(GlyphAtlas, NamesTheMissingPackage) {
  const test::TempFolder folder;
  try {
    GlyphAtlas::load({folder.path(), {}});
    FAIL();
  } catch (const DataError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("@iconify-json/twemoji"), std::string::npos) << message;
    EXPECT_NE(message.find("make setup"), std::string::npos) << message;
  }
}

TEST(GlyphAtlas, EveryGlyphIsDrawnInEveryStyle) {
  const auto atlas = testing::shared_atlas();
  for (int style = 0; style < kStyles; ++style)
    for (int glyph = 0; glyph < kGlyphs; ++glyph)
      for (const int size : {28, 30, 32, 34, 64}) {
        const auto pixels = atlas->pixels(style, glyph, size);
        int64_t covered = 0;
        for (size_t i = 0; i < pixels.size(); i += 4) {
          covered += pixels[i + 3];
          ASSERT_LE(std::max({pixels[i], pixels[i + 1], pixels[i + 2]}), pixels[i + 3]);
        }
        EXPECT_GT(covered, 255 * size * size / 20)
            << style_name(style) << " " << glyph_slug(glyph) << " " << size;
      }
}

TEST(GlyphAtlas, ADamagedCacheIsMadeAgain) {
  const test::TempFolder folder;
  GlyphOptions options{std::filesystem::path(PARAPET_SOURCE_DIR) / "node_modules", folder.path()};
  const auto first = GlyphAtlas::load(options);
  std::filesystem::path file;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) file = entry.path();
  ASSERT_FALSE(file.empty());
  std::filesystem::resize_file(file, 1000);
  std::string warning;
  Context context;
  context.log_sink = [&](LogLevel, std::string_view text) { warning = text; };
  EXPECT_EQ(GlyphAtlas::load(options, context)->fingerprint(), first->fingerprint());
  EXPECT_NE(warning.find("damaged"), std::string::npos);
  EXPECT_GT(std::filesystem::file_size(file), 1000u);
}

TEST(ShrinkRgba, AveragesAreasExactly) {
  // Halves: the mean of four, rounded.
  std::vector<uint8_t> pixels(4 * 4 * 4);
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 3);
  const auto half = shrink_rgba(pixels, 4, 2);
  EXPECT_EQ(half[0], (pixels[0] + pixels[4] + pixels[16] + pixels[20] + 2) / 4);
  // 4 -> 3: the first target pixel takes all of one source pixel and a third of the next.
  const auto third = shrink_rgba(pixels, 4, 3);
  const double expected =
      (pixels[0] * 9.0 + pixels[4] * 3.0 + pixels[16] * 3.0 + pixels[20] * 1.0) / 16.0;
  EXPECT_NEAR(third[0], expected, 0.5);
  const std::vector<uint8_t> flat(64 * 64 * 4, 200);
  for (const auto value : shrink_rgba(flat, 64, 34)) ASSERT_EQ(value, 200);
}

}  // namespace
}  // namespace parapet
