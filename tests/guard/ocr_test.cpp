#include "parapet/guard/ocr.h"

#include <gtest/gtest.h>

#include <thread>

#include "guard/guard_fixture.h"
#include "parapet/core/error.h"
#include "parapet/data/icon_set.h"
#include "parapet/guard/guard.h"

namespace parapet::guard {
namespace {

// Words drawn with the system's fonts, black on white.
Image drawn(const std::string& first, const std::string& second) {
  const std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 400 400\">"
      "<rect width=\"400\" height=\"400\" fill=\"#fff\"/>"
      "<text x=\"40\" y=\"120\" font-size=\"48\" font-family=\"DejaVu Sans\">" +
      first + "</text><text x=\"40\" y=\"300\" font-size=\"48\" font-family=\"DejaVu Sans\">" +
      second + "</text></svg>";
  const auto rgba = rasterise_svg(svg, 400, "test");
  Image image{400, 400, {}};
  for (size_t i = 0; i < rgba.size(); ++i)
    if (i % 4 != 3) image.rgb.push_back(rgba[i]);
  return image;
}

TEST(Ocr, ReadsDrawnWordsWithTheirBoxes) {
  Ocr ocr({.enabled = true});
  const OcrText text = ocr.read(drawn("hello there", "darn it"));
  ASSERT_NE(text.text.find("hello"), std::string::npos) << text.text;
  const size_t at = text.text.find("darn");
  ASSERT_NE(at, std::string::npos) << text.text;
  for (const OcrWord& word : text.words) {
    if (word.begin != at) continue;
    EXPECT_NEAR(static_cast<double>(word.left), 42, 12);
    EXPECT_NEAR(static_cast<double>(word.top), 262, 20);
    EXPECT_NEAR(static_cast<double>(word.height), 42, 22);
  }
  EXPECT_TRUE(ocr.read(test::grey_image(128, 300, 300)).text.empty());
}

// A picture turned by a quarter, clockwise.
Image turned(const Image& image) {
  Image out{image.height, image.width, std::vector<uint8_t>(image.rgb.size())};
  for (int64_t y = 0; y < image.height; ++y)
    for (int64_t x = 0; x < image.width; ++x)
      for (int64_t c = 0; c < 3; ++c)
        out.rgb[static_cast<size_t>((x * out.width + image.height - 1 - y) * 3 + c)] =
            image.rgb[static_cast<size_t>((y * image.width + x) * 3 + c)];
  return out;
}

TEST(Ocr, ReadsTurnedTextWithItsBoxesWhereItStands) {
  Ocr ocr({.enabled = true});
  Image image = drawn("hello there", "darn it");
  // The middle of "darn", drawn about (100, 284), moves with the picture.
  int64_t x = 100, y = 284;
  for (int quarters = 1; quarters < 4; ++quarters) {
    image = turned(image);
    const int64_t moved = 399 - y;
    y = x;
    x = moved;
    const OcrText text = ocr.read(image);
    const size_t at = text.text.find("darn");
    ASSERT_NE(at, std::string::npos) << quarters << ": " << text.text;
    EXPECT_NE(text.text.find("hello"), std::string::npos) << quarters << ": " << text.text;
    for (const OcrWord& word : text.words) {
      EXPECT_EQ(text.text.substr(word.begin, word.end - word.begin).find('\n'), std::string::npos);
      if (word.begin != at) continue;
      EXPECT_NEAR(static_cast<double>(word.left + word.width / 2), static_cast<double>(x), 20);
      EXPECT_NEAR(static_cast<double>(word.top + word.height / 2), static_cast<double>(y), 20);
      EXPECT_EQ(word.width < word.height, quarters != 2);
    }
  }
}

// A page of small print would hold a worker for minutes.
TEST(Ocr, StopsAtTheDeadline) {
  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1600 1600\">"
      "<rect width=\"1600\" height=\"1600\" fill=\"#fff\"/>";
  for (int y = 20; y < 1600; y += 20)
    svg +=
        "<text x=\"5\" y=\"" + std::to_string(y) +
        "\" font-size=\"16\" font-family=\"DejaVu Sans\">the quick brown dog jumps over the lazy "
        "cat and the quick brown dog jumps over the lazy cat again</text>";
  const auto rgba = rasterise_svg(svg + "</svg>", 1600, "test");
  Image page{1600, 1600, {}};
  for (size_t i = 0; i < rgba.size(); ++i)
    if (i % 4 != 3) page.rgb.push_back(rgba[i]);
  const auto folder = std::filesystem::path(PARAPET_SOURCE_DIR) / "policies";
  const Guard guard(Policy::parse("[ocr]\nfail='closed'\n", "p.toml", folder), {}, Context{});
  Decision decision;
  for (const int milliseconds : {500, 5000, 20'000}) {  // a busy machine begins late
    GuardRequest request{.parts = {Part::image(encode_png(page, 1))}};
    request.deadline = Clock::now() + std::chrono::milliseconds(milliseconds);
    decision = guard.check(request);
    if (!decision.not_scanned.empty() && decision.not_scanned[0].level == "ocr" &&
        decision.not_scanned[0].detail != "not begun in time")
      break;
  }
  ASSERT_EQ(decision.not_scanned.size(), 1u);
  EXPECT_EQ(decision.not_scanned[0].level, "ocr");
  EXPECT_EQ(decision.not_scanned[0].reason, "deadline");
  EXPECT_EQ(decision.not_scanned[0].detail, "not read to its end in time");
  EXPECT_EQ(decision.parts[0].ocr_characters, -1);
  EXPECT_EQ(decision.action, Action::kBlock);
  // The engine reads on.
  EXPECT_NE(Ocr({.enabled = true}).read(drawn("hello", "darn")).text.find("darn"),
            std::string::npos);
}

TEST(Ocr, UnknownLanguagesAreNamed) {
  EXPECT_THROW(Ocr({.enabled = true, .languages = "xxx"}), UsageError);
}

// Text drawn in a picture meets the same rules as typed text, and only its box is blurred.
TEST(Ocr, DrawnTextGoesThroughTheTextRules) {
  const auto folder = std::filesystem::path(PARAPET_SOURCE_DIR) / "policies";
  const Policy policy = Policy::parse(R"(
[ocr]
[rules]
[[rules.list]]
name = "w"
entries = ["darn"]
category = "profanity"
action = "modify"
[modify]
region = "ocr"
image = "pixelate"
)",
                                      "p.toml", folder);
  const auto signal = std::make_shared<test::FakeSignal>();
  const Guard guard(policy, {.signals = {signal}}, Context{});
  const Image image = drawn("hello", "darn");
  std::vector<Decision> decisions(4);
  std::vector<std::thread> threads;
  for (Decision& decision : decisions)
    threads.emplace_back(
        [&] { decision = guard.check({.parts = {Part::image(encode_png(image))}}); });
  for (auto& thread : threads) thread.join();
  for (const Decision& decision : decisions) {
    EXPECT_EQ(decision.action, Action::kModify);
    ASSERT_EQ(decision.rules.size(), 1u);
    EXPECT_TRUE(decision.rules[0].from_ocr);
    ASSERT_EQ(decision.modified.size(), 1u);
    EXPECT_EQ(decision.modified[0].detail, "1 boxes");
    const Image after = decode_image(decision.modified[0].content, "png");
    const auto changed = [&](int64_t top, int64_t bottom) {
      int64_t count = 0;
      for (int64_t i = top * 400 * 3; i < bottom * 400 * 3; ++i)
        count += after.rgb[static_cast<size_t>(i)] != image.rgb[static_cast<size_t>(i)];
      return count;
    };
    EXPECT_EQ(changed(0, 200), 0);
    EXPECT_GT(changed(250, 320), 1000);
  }
}

}  // namespace
}  // namespace parapet::guard
