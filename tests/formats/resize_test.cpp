// Against Pillow's Image.resize (tools/goldens/make_image_goldens.py): equal, pixel by pixel.
#include <gtest/gtest.h>

#include <cstring>

#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/formats/image.h"
#include "parapet/formats/safetensors.h"

namespace parapet {
namespace {

Image to_image(const TensorView& view) {
  Image image{view.shape[1], view.shape[0], {}};
  image.rgb.resize(view.data.size());
  std::memcpy(image.rgb.data(), view.data.data(), view.data.size());
  return image;
}

TEST(Resize, EqualsPillow) {
  const auto goldens =
      TensorArchive::open(PARAPET_SOURCE_DIR "/tests/goldens/images/resized.safetensors");
  int compared = 0;
  for (const auto& [name, view] : goldens.tensors()) {
    const size_t dot = name.find('.');
    const std::string what = name.substr(dot + 1);
    if (what == "in") continue;
    const Image want = to_image(view);
    const Image got = resize(to_image(*goldens.find(name.substr(0, dot) + ".in")), want.width,
                             want.height, static_cast<Resample>(std::stoi(what)));
    EXPECT_EQ(got.rgb, want.rgb) << name << " to " << want.width << " x " << want.height;
    ++compared;
  }
  EXPECT_EQ(compared, 30);
}

TEST(Resize, KeepsFlatImagesFlatAndSizesExact) {
  const Image flat{70, 45, std::vector<uint8_t>(70 * 45 * 3, 201)};
  for (const auto [w, h] : {std::pair<int64_t, int64_t>{224, 224}, {7, 300}, {70, 3}, {1, 1}}) {
    const Image out = resize_bicubic(flat, w, h);
    EXPECT_EQ(out.width, w);
    EXPECT_EQ(out.height, h);
    EXPECT_EQ(out.rgb, std::vector<uint8_t>(static_cast<size_t>(w * h * 3), 201));
  }
  EXPECT_THROW(resize_bicubic(flat, 0, 5), UsageError);
  EXPECT_THROW(resize_bicubic(Image{}, 5, 5), UsageError);
}

TEST(Resize, CropOfResizeIsTheSame) {
  Random random(7);
  Image image{53, 41, {}};
  for (int i = 0; i < 53 * 41 * 3; ++i) image.rgb.push_back(random.chance(0.5) ? 255 : 0);
  for (int i = 0; i < 200; ++i) {
    const int64_t w = random.between(1, 120), h = random.between(1, 120);
    const int64_t left = random.between(-30, 90), top = random.between(-30, 90);
    const int64_t cw = random.between(1, 60), ch = random.between(1, 60);
    const Resample filter = random.pick(
        std::vector<Resample>{Resample::kNearest, Resample::kBilinear, Resample::kBicubic});
    const Image want = crop(resize(image, w, h, filter), left, top, cw, ch);
    const Image got = resize_crop(image, w, h, filter, left, top, cw, ch);
    ASSERT_EQ(got.width, cw);
    ASSERT_EQ(got.height, ch);
    ASSERT_EQ(got.rgb, want.rgb) << w << " x " << h << " at " << left << ", " << top;
  }
}

TEST(Resize, ExtremeAspectRatioStaysCheap) {
  // Whole, this would be 224 x 44,800,000 pixels.
  const Image thread{1, 200'000, std::vector<uint8_t>(600'000, 77)};
  const Image out =
      resize_crop(thread, 224, 44'800'000, Resample::kBicubic, 0, 22'000'000, 224, 224);
  EXPECT_EQ(out.rgb, std::vector<uint8_t>(224 * 224 * 3, 77));
}

TEST(Crop, PadsWithBlackOutside) {
  const Image image{2, 1, {1, 2, 3, 4, 5, 6}};
  EXPECT_EQ(crop(image, 1, 0, 1, 1).rgb, (std::vector<uint8_t>{4, 5, 6}));
  EXPECT_EQ(crop(image, -1, 0, 2, 2).rgb,
            (std::vector<uint8_t>{0, 0, 0, 1, 2, 3, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(crop(image, 5, 5, 1, 1).rgb, (std::vector<uint8_t>{0, 0, 0}));
}

}  // namespace
}  // namespace parapet
