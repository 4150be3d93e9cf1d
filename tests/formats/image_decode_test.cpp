// Against Pillow's exif_transpose and transformers' convert_to_rgb, and against the PNG
// specification where Pillow is wrong (tools/goldens/make_image_goldens.py): equal, pixel by pixel.
#include <gtest/gtest.h>

#include <cstring>

#include "parapet/core/files.h"
#include "parapet/formats/image.h"
#include "parapet/formats/image_views.h"
#include "parapet/formats/safetensors.h"
#include "parapet/formats/tar.h"
#include "support/data_error.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

const std::string kGoldens = PARAPET_SOURCE_DIR "/tests/goldens/images/";

Image to_image(const TensorView& view) {
  Image image{view.shape[1], view.shape[0], {}};
  image.rgb.resize(view.data.size());
  std::memcpy(image.rgb.data(), view.data.data(), view.data.size());
  return image;
}

// A smooth picture with an edge, for encoders.
Image sample(int64_t width, int64_t height) {
  Image image{width, height, {}};
  for (int64_t y = 0; y < height; ++y)
    for (int64_t x = 0; x < width; ++x)
      for (int64_t c = 0; c < 3; ++c)
        image.rgb.push_back(static_cast<uint8_t>(
            (x * 255 / width + y * 90 / height + 60 * c + (x > width / 2 ? 40 : 0)) % 256));
  return image;
}

std::string big_endian(uint32_t value) {
  return {char(value >> 24), char(value >> 16), char(value >> 8), char(value)};
}

TEST(ImageDecode, EqualsPillowOnEveryKind) {
  const auto expected = TensorArchive::open(kGoldens + "decoded.safetensors");
  int64_t seen = 0;
  TarReader tar(kGoldens + "cases.tar");
  for (TarMember member; tar.next(member); ++seen) {
    const TensorView* view = expected.find(member.name);
    ASSERT_NE(view, nullptr) << member.name;
    const Image want = to_image(*view);
    const Image got = decode_image(member.bytes, member.name);
    EXPECT_EQ(got.width, want.width) << member.name;
    EXPECT_EQ(got.height, want.height) << member.name;
    EXPECT_EQ(got.rgb, want.rgb) << member.name;
    EXPECT_EQ(image_size(member.bytes, member.name), std::make_pair(want.width, want.height))
        << member.name;
  }
  EXPECT_EQ(seen, static_cast<int64_t>(expected.tensors().size()));
  EXPECT_GE(seen, 100);
}

TEST(ImageDecode, OrientationCanBeLeftAlone) {
  const std::string bytes = read_location(kGoldens + "cases.tar#exif6.jpg", 1 << 20);
  DecodeOptions options;
  options.apply_exif_orientation = false;
  EXPECT_EQ(decode_image(bytes, "x", options).width, 23);
  EXPECT_EQ(decode_image(bytes, "x").width, 17);
}

TEST(ImageDecode, LoadsPathsAndShardMembers) {
  const Image member = load_image(kGoldens + "cases.tar#rgb.png");
  const test::TempFolder folder;
  write_file_atomic(folder / "a.png", encode_png(member));
  EXPECT_EQ(load_image((folder / "a.png").string()).rgb, member.rgb);
  EXPECT_NE(data_error([&] { load_image((folder / "no.png").string()); }).find("no.png"),
            std::string::npos);
  EXPECT_NE(data_error([&] { load_image(kGoldens + "cases.tar#no.png"); }).find("no such member"),
            std::string::npos);
}

TEST(ImageDecode, RefusesWhatIsNotAnImage) {
  EXPECT_NE(data_error([] { decode_image("", "f"); }).find("zero bytes"), std::string::npos);
  EXPECT_NE(data_error([] { decode_image("<!DOCTYPE html>", "f"); }).find("an HTML page"),
            std::string::npos);
  EXPECT_NE(data_error([] { decode_image("%PDF-1.7", "f"); }).find("PDF"), std::string::npos);
  EXPECT_NE(data_error([] { decode_image("hello", "f"); }).find("68 65 6c 6c 6f"),
            std::string::npos);
}

TEST(ImageDecode, RefusesTruncatedFiles) {
  TarReader tar(kGoldens + "cases.tar");
  for (TarMember member; tar.next(member);) {
    for (const double share : {0.02, 0.3, 0.6, 0.9}) {
      const auto size = static_cast<size_t>(static_cast<double>(member.bytes.size()) * share);
      // In the animated files the first frame may be whole.
      if (member.name.starts_with("animated") && share > 0.3) continue;
      // What is cut off is metadata behind whole pixels.
      if (member.name.ends_with("_after.png")) continue;
      // The tail of a tiny PNG is its end marker, which Pillow does not need either.
      if (member.name.ends_with(".png") && member.bytes.size() < 200) continue;
      EXPECT_THROW(decode_image(std::string_view(member.bytes).substr(0, size), "f"), DataError)
          << member.name << " at " << share;
    }
  }
}

TEST(ImageDecode, CapsPixelsFromTheHeader) {
  std::string png = encode_png(sample(8, 8));
  // Another size in IHDR, with its checksum (CRC-32 of "IHDR" and 13 bytes).
  png.replace(16, 8, big_endian(60000) + big_endian(60000));
  uint32_t crc = 0xffffffffu;
  for (const char c : png.substr(12, 17)) {
    crc ^= static_cast<uint8_t>(c);
    for (int i = 0; i < 8; ++i) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
  }
  png.replace(29, 4, big_endian(~crc));
  EXPECT_NE(data_error([&] { decode_image(png, "f.png"); }).find("60000 x 60000"),
            std::string::npos);
  EXPECT_EQ(image_size(png, "f").first, 60000);

  std::string jpeg = encode_jpeg(sample(8, 8));
  const size_t frame = jpeg.find("\xff\xc0");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, "\xea\x60\xea\x60");
  EXPECT_NE(data_error([&] { decode_image(jpeg, "f.jpg"); }).find("60000 x 60000"),
            std::string::npos);

  DecodeOptions options;
  options.max_bytes = 10;
  EXPECT_NE(data_error([&] { decode_image(jpeg, "f.jpg", options); }).find("limit"),
            std::string::npos);
}

TEST(ImageDecode, ScaledDecodeStaysWithinItsTolerance) {
  // 1/4 and 1/2 decode followed by a bicubic resize against the exact path: the header's promise.
  const Image source = sample(1024, 960);
  const std::string bytes = encode_jpeg(source, 92);
  for (const int64_t target : {112, 224}) {
    DecodeOptions options;
    options.scale_for = target;
    const Image scaled = decode_image(bytes, "f", options);
    EXPECT_EQ(scaled.width, target == 112 ? 256 : 512);
    const Image a = resize_bicubic(scaled, target, target);
    const Image b = resize_bicubic(decode_image(bytes, "f"), target, target);
    int64_t beyond = 0;
    for (size_t i = 0; i < a.rgb.size(); ++i) beyond += std::abs(int(a.rgb[i]) - int(b.rgb[i])) > 4;
    EXPECT_LE(beyond * 100, static_cast<int64_t>(a.rgb.size()));
  }
  // A side that the scale does not divide would shift the picture: decoded in full.
  DecodeOptions options;
  options.scale_for = 100;
  EXPECT_EQ(decode_image(encode_jpeg(sample(1023, 960)), "f", options).width, 1023);
}

TEST(ImageEncode, RoundTrips) {
  const Image image = sample(37, 21);
  for (int level : {0, 1, 6, 9})
    EXPECT_EQ(decode_image(encode_png(image, level), "p").rgb, image.rgb);
  std::vector<uint8_t> rgba;
  for (size_t i = 0; i < image.rgb.size(); i += 3)
    rgba.insert(rgba.end(), {image.rgb[i], image.rgb[i + 1], image.rgb[i + 2], uint8_t(i)});
  const auto views = decode_image_views(encode_png_rgba(rgba, 37, 21), "p");
  ASSERT_EQ(views.size(), 4U);
  EXPECT_EQ(views[2].image.rgb, image.rgb);
  const Image jpeg = decode_image(encode_jpeg(image, 98), "j");
  double error = 0;
  for (size_t i = 0; i < image.rgb.size(); ++i) error += std::abs(jpeg.rgb[i] - image.rgb[i]);
  EXPECT_LT(error / static_cast<double>(image.rgb.size()), 12);
  EXPECT_THROW(encode_png(Image{3, 3, {}}), UsageError);
  EXPECT_EQ(encode_png(image, 1), encode_png(image, 1));
}

}  // namespace
}  // namespace parapet
