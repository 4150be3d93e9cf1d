#include "parapet/guard/redact.h"

#include <gtest/gtest.h>

#include "guard/guard_fixture.h"
#include "parapet/guard/explain.h"

namespace parapet::guard {
namespace {

Image checkers() {
  Image image = test::grey_image(0, 60, 40);
  for (int64_t y = 0; y < 40; ++y)
    for (int64_t x = 0; x < 60; ++x)
      for (int64_t c = 0; c < 3; ++c)
        image.rgb[static_cast<size_t>((y * 60 + x) * 3 + c)] = (x / 2 + y / 2) % 2 ? 255 : 0;
  return image;
}

// Largest step between neighbours in a row within a box.
int contrast(const Image& image, const Box& box) {
  int largest = 0;
  for (int64_t y = box.top; y < box.top + box.height; ++y)
    for (int64_t x = box.left + 1; x < box.left + box.width; ++x) {
      const auto at = [&](int64_t column) {
        return static_cast<int>(image.rgb[static_cast<size_t>((y * image.width + column) * 3)]);
      };
      largest = std::max(largest, std::abs(at(x) - at(x - 1)));
    }
  return largest;
}

TEST(Redact, HidesTheBoxAndNothingElse) {
  const Image before = checkers();
  const Box box{10, 8, 30, 20};
  for (const bool blur : {true, false}) {
    Image after = before;
    if (blur)
      blur_box(after, box, 6);
    else
      pixelate_box(after, box, 10);
    EXPECT_LT(contrast(after, {box.left, box.top, box.width, box.height}), 64) << blur;
    for (int64_t y = 0; y < 40; ++y)
      for (int64_t x = 0; x < 60; ++x) {
        const bool inside = x >= 10 && x < 40 && y >= 8 && y < 28;
        const auto at = static_cast<size_t>((y * 60 + x) * 3);
        if (!inside) ASSERT_EQ(after.rgb[at], before.rgb[at]) << x << " " << y;
      }
  }
}

TEST(Redact, BoxesAreCutAtTheEdges) {
  Image image = checkers();
  blur_box(image, {-50, -50, 500, 500}, 1000);
  pixelate_box(image, {55, 35, 100, 100}, 7);
  blur_box(image, {100, 100, 5, 5}, 3);
  const Box grown = grow_box({2, 2, 10, 20}, 0.5, image);
  EXPECT_EQ(grown.left, 0);
  EXPECT_EQ(grown.width, 17);
}

TEST(Redact, MasksCharactersNotBytesAndKeepsBlanks) {
  EXPECT_EQ(mask_spans("a sch\u00F6n bcd e", {{2, 12}}, "*"), "a ***** *** e");
  EXPECT_EQ(mask_spans("abcdef", {{4, 6}, {0, 1}, {0, 2}, {1, 3}}, "#"), "###d##");
  EXPECT_EQ(mask_spans("abc", {}, "#"), "abc");
  EXPECT_EQ(mask_spans("", {{0, 5}}, "#"), "");
}

// The score sits in the bright square at the lower right.
TEST(Explain, SaliencyIsWhereTheScoreIs) {
  Image image = test::grey_image(20, 70, 70);
  for (int64_t y = 50; y < 60; ++y)
    for (int64_t x = 50; x < 60; ++x)
      for (int64_t c = 0; c < 3; ++c) image.rgb[static_cast<size_t>((y * 70 + x) * 3 + c)] = 250;
  const auto png = image_saliency(image, [](std::span<const Image> copies) {
    std::vector<double> scores;
    for (const Image& copy : copies) {
      int bright = 0;
      for (const uint8_t value : copy.rgb) bright += value > 200;
      scores.push_back(bright / 300.0);
    }
    return scores;
  });
  ASSERT_TRUE(png);
  const Image heat = decode_image(*png, "png");
  const auto redness = [&](int64_t x, int64_t y) {
    const uint8_t* p = heat.rgb.data() + (y * heat.width + x) * 3;
    return p[0] - p[1];
  };
  EXPECT_GT(redness(55, 55), 80);
  EXPECT_LT(redness(15, 15), 10);
  EXPECT_FALSE(image_saliency(image, [](auto) { return std::vector<double>{}; }));
}

// Fifty copies of a picture of 50 megapixels would be 7 GB.
TEST(Explain, LargePicturesAreMadeSmallFirst) {
  int64_t longest = 0;
  const auto png =
      image_saliency(test::grey_image(20, 3000, 40), [&](std::span<const Image> copies) {
        for (const Image& copy : copies) longest = std::max({longest, copy.width, copy.height});
        return std::vector<double>(copies.size(), 0.5);
      });
  EXPECT_TRUE(png);
  EXPECT_LE(longest, 448);
}

TEST(Explain, WordsThatCarryTheScore) {
  const auto words =
      word_attribution("two dogs & a bomb", [](const std::vector<std::string>& texts) {
        std::vector<double> scores;
        for (const std::string& text : texts)
          scores.push_back(text.find("bomb") != std::string::npos ? 0.9 : 0.1);
        return scores;
      });
  ASSERT_EQ(words.size(), 5u);
  EXPECT_EQ(words[4].first, "bomb");
  EXPECT_NEAR(words[4].second, 0.8, 1e-9);
  EXPECT_NEAR(words[0].second, 0, 1e-9);
  EXPECT_EQ(decode_image(attribution_picture(words), "png").width, 512);
  attribution_picture({});
}

}  // namespace
}  // namespace parapet::guard
