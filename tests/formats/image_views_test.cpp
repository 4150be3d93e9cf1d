// What a picture shows on other grounds, and metadata made to exhaust its reader.
#include "parapet/formats/image_views.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>
#include <functional>

namespace parapet {
namespace {

constexpr int64_t kSide = 8;

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

bool inside(int64_t x, int64_t y) { return x > 2 && y > 3; }

std::vector<std::string> names_of(const std::string& bytes) {
  std::vector<std::string> names;
  for (const ImageView& view : decode_image_views(bytes, "p")) names.push_back(view.name);
  return names;
}

std::string big_endian(uint32_t value) {
  return {char(value >> 24), char(value >> 16), char(value >> 8), char(value)};
}

std::string chunk(const std::string& type, const std::string& data) {
  const std::string body = type + data;
  const auto* bytes = reinterpret_cast<const Bytef*>(body.data());
  return big_endian(static_cast<uint32_t>(data.size())) + body +
         big_endian(static_cast<uint32_t>(crc32(0, bytes, static_cast<uInt>(body.size()))));
}

std::string packed(const std::string& text) {
  std::string out(compressBound(text.size()), '\0');
  uLongf size = out.size();
  compress2(reinterpret_cast<Bytef*>(out.data()), &size,
            reinterpret_cast<const Bytef*>(text.data()), text.size(), 9);
  out.resize(size);
  return out;
}

// A picture of one row, 16-bit grey.
std::string grey16_png(const std::vector<uint16_t>& samples) {
  std::string row(1, '\0');
  for (const uint16_t sample : samples) row.append({char(sample >> 8), char(sample)});
  const std::string header = big_endian(static_cast<uint32_t>(samples.size())) + big_endian(1) +
                             std::string("\x10\0\0\0\0", 5);
  return "\x89PNG\r\n\x1a\n" + chunk("IHDR", header) + chunk("IDAT", packed(row)) +
         chunk("IEND", "");
}

TEST(ImageViews, AnOpaquePictureHasOne) {
  const auto opaque = rgba_png([](int64_t x, int64_t y) {
    return Pixel{uint8_t(x), uint8_t(y), 9, 255};
  });
  EXPECT_EQ(names_of(opaque), std::vector<std::string>{""});
  const Image image{1, 2, {1, 2, 3, 4, 5, 6}};
  EXPECT_EQ(names_of(encode_jpeg(image)), std::vector<std::string>{""});
  EXPECT_EQ(names_of(encode_png(image)), std::vector<std::string>{""});
}

TEST(ImageViews, WhatIsDrawnInAlphaShows) {
  // White in white: nothing on white paper, and nothing where transparency is dropped.
  const auto white = rgba_png([](int64_t x, int64_t y) {
    return Pixel{255, 255, 255, uint8_t(inside(x, y) ? 255 : 0)};
  });
  const auto views = decode_image_views(white, "p");
  ASSERT_EQ(views.size(), 2U);  // the alpha channel looks as the picture on black does
  EXPECT_EQ(views[0].image.rgb, std::vector<uint8_t>(kSide * kSide * 3, 255));
  EXPECT_EQ(views[1].name, "black");
  EXPECT_EQ(views[1].image.rgb[3 * (4 * kSide + 3)], 255);
  EXPECT_EQ(views[1].image.rgb[3 * (4 * kSide + 2)], 0);
}

TEST(ImageViews, ColoursBelowFullTransparencyShow) {
  const auto hidden = rgba_png([](int64_t x, int64_t y) {
    return Pixel{uint8_t(inside(x, y) ? 200 : 20), 0, 0, 0};
  });
  const auto views = decode_image_views(hidden, "p");
  ASSERT_EQ(views.size(), 2U);  // black and the alpha channel are flat
  EXPECT_EQ(views[1].name, "opaque");
  EXPECT_EQ(views[1].image.rgb[3 * (4 * kSide + 3)], 200);
}

TEST(ImageViews, HalfOnEachGroundIsWholeInTheAlphaChannel) {
  const auto split = rgba_png([](int64_t x, int64_t y) {
    const auto level = uint8_t(x % 2 == 0 ? 0 : 255);
    return Pixel{level, level, level, uint8_t(inside(x, y) ? 255 : 0)};
  });
  EXPECT_EQ(names_of(split), (std::vector<std::string>{"", "black", "opaque", "alpha"}));
}

TEST(ImageViews, SixteenBitsOfGreyAreSeenAsEveryReaderSeesThem) {
  // An 8-bit picture in the low byte: black by the high byte, itself as Pillow clips.
  const auto low = decode_image_views(grey16_png({0, 40, 250, 90}), "p");
  ASSERT_EQ(low.size(), 3U);
  EXPECT_EQ(low[0].image.rgb[3], 0);
  EXPECT_EQ(low[1].name, "clipped");
  EXPECT_EQ(low[1].image.rgb[3], 40);
  EXPECT_EQ(low[2].name, "stretched");
  EXPECT_EQ(low[2].image.rgb[6], 255);
  // An ordinary one has its levels; clipped it is white, which shows nothing.
  EXPECT_EQ(names_of(grey16_png({0x4000, 0x9000, 0xFFFF})), std::vector<std::string>{""});
  EXPECT_EQ(decode_image(grey16_png({0x4000, 0x9000, 0xFFFF}), "p").rgb[3], 0x90);
}

TEST(ImageViews, AreTurnedUpright) {
  const std::string exif("MM\0*\0\0\0\x8\0\x1\x1\x12\0\3\0\0\0\x1\0\3\0\0\0\0\0\0", 26);
  std::string png = rgba_png([](int64_t x, int64_t y) {
    return Pixel{255, 255, 255, uint8_t(inside(x, y) ? 255 : 0)};
  });
  png.insert(png.size() - 12, chunk("eXIf", exif));
  const auto views = decode_image_views(png, "p");
  ASSERT_EQ(views.size(), 2U);
  EXPECT_EQ(views[1].image.rgb[0], 255);  // half a turn: the square has come to the upper left
  EXPECT_EQ(views[1].image.rgb.back(), 0);
}

TEST(ImageViews, PackedMetadataIsBounded) {
  std::string png = grey16_png({1, 2});
  const std::string bomb = packed(std::string(size_t{32} << 20, ' '));
  std::string chunks;
  for (int i = 0; i < 2000; ++i)  // 64 GB, were they all unpacked
    chunks += chunk("zTXt", std::string("XML:com.adobe.xmp\0\0", 19) + bomb);
  chunks +=
      chunk("iTXt", std::string("XML:com.adobe.xmp\0\0\0\0\0", 22) + "tiff:Orientation=\"6\"");
  png.insert(png.size() - 12, chunks);
  EXPECT_EQ(image_size(png, "p"), (std::pair<int64_t, int64_t>{1, 2}));
}

TEST(ImageViews, MetadataWithAWrongChecksumDoesNotCount) {
  std::string bad =
      chunk("iTXt", std::string("XML:com.adobe.xmp\0\0\0\0\0", 22) + "tiff:Orientation=\"6\"");
  bad.back() ^= 1;
  std::string png = grey16_png({1, 2});
  png.insert(png.size() - 12, bad);
  EXPECT_EQ(image_size(png, "p").first, 2);
}

}  // namespace
}  // namespace parapet
