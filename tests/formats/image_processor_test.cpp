// Against transformers' CLIPImageProcessor (tools/goldens/make_image_goldens.py).
#include "parapet/formats/image_processor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "parapet/core/json.h"
#include "parapet/formats/safetensors.h"
#include "support/data_error.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

using nlohmann::json;

constexpr float kTolerance = 1e-5f;  // the promise is 0.02
const std::string kGoldens = PARAPET_SOURCE_DIR "/tests/goldens/images/";

Image to_image(const TensorView& view) {
  Image image{view.shape[1], view.shape[0], {}};
  image.rgb.resize(view.data.size());
  std::memcpy(image.rgb.data(), view.data.data(), view.data.size());
  return image;
}

TEST(ImageProcessor, EqualsTransformers) {
  const auto goldens = TensorArchive::open(kGoldens + "preprocessed.safetensors");
  const json configs = load_json(kGoldens + "preprocessor_configs.json");
  int compared = 0;
  for (const auto& [name, config] : configs.items()) {
    // Through its own JSON too.
    const auto direct = ImageProcessor::from_json(config, name);
    const auto processor = ImageProcessor::from_json(direct.to_json(), name);
    for (const std::string size : {"40x27", "25x61", "15x16"}) {
      const TensorView* want = goldens.find(name + "." + size);
      ASSERT_NE(want, nullptr) << name;
      const Image pixels = processor.to_pixels(to_image(*goldens.find("in." + size)));
      ASSERT_EQ(want->shape, (std::vector<int64_t>{3, pixels.height, pixels.width})) << name;
      if (processor.height() > 0) EXPECT_EQ(processor.height(), pixels.height);
      if (processor.width() > 0) EXPECT_EQ(processor.width(), pixels.width);
      std::vector<float> got(static_cast<size_t>(want->elements()));
      processor.normalise(pixels, got.data());
      std::vector<float> expected(got.size());
      std::memcpy(expected.data(), want->data.data(), want->data.size());
      float worst = 0;
      for (size_t i = 0; i < got.size(); ++i)
        worst = std::max(worst, std::abs(got[i] - expected[i]));
      EXPECT_LE(worst, kTolerance) << name << " " << size;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 24);
}

TEST(ImageProcessor, DefaultIsClip) {
  const auto processor = ImageProcessor::clip_default(224);
  EXPECT_EQ(processor.height(), 224);
  EXPECT_EQ(processor.scale_hint(), 224);
  EXPECT_FLOAT_EQ(processor.mean()[0], 0.48145466f);
  EXPECT_EQ(processor.to_json()["size"]["shortest_edge"], 224);
}

TEST(ImageProcessor, LoadsFolders) {
  const test::TempFolder folder;
  EXPECT_NE(data_error([&] { ImageProcessor::load(folder.path()); }).find("preprocessor_config"),
            std::string::npos);
  save_json(folder / "preprocessor_config.json", ImageProcessor::clip_default(64).to_json());
  EXPECT_EQ(ImageProcessor::load(folder.path()).width(), 64);
  // transformers 5 saves a processor as one file and prefers it.
  save_json(folder / "processor_config.json", {{"processor_class", "CLIPProcessor"}});
  EXPECT_EQ(ImageProcessor::load(folder.path()).width(), 64);
  save_json(folder / "processor_config.json",
            {{"image_processor", ImageProcessor::clip_default(32).to_json()}});
  EXPECT_EQ(ImageProcessor::load(folder.path()).width(), 32);
}

TEST(ImageProcessor, NamesFieldsItCannotHonour) {
  const auto error = [](const json& config) {
    return data_error([&] { ImageProcessor::from_json(config, "c.json"); });
  };
  EXPECT_NE(error({{"do_sharpen", true}}).find("'do_sharpen'"), std::string::npos);
  EXPECT_EQ(error({{"do_sharpen", false}}), "");
  EXPECT_NE(error({{"do_pad", true}}).find("'do_pad'"), std::string::npos);
  EXPECT_NE(error({{"resample", 1}}).find("'resample'"), std::string::npos);
  EXPECT_NE(error({{"size", {{"longest_edge", 5}}}}).find("'size'"), std::string::npos);
  EXPECT_NE(error({{"size", "big"}}).find("'size'"), std::string::npos);
  EXPECT_NE(error({{"size", -3}}).find("'size'"), std::string::npos);
  EXPECT_NE(error({{"crop_size", {{"height", 5}}}}).find("'width'"), std::string::npos);
  EXPECT_NE(error({{"image_mean", {1, 2}}}).find("'image_mean'"), std::string::npos);
  EXPECT_NE(error({{"image_std", {1, 0, 1}}}).find("'image_std'"), std::string::npos);
  EXPECT_NE(error({{"image_processor_type", "LlavaNextImageProcessor"}}).find("LlavaNext"),
            std::string::npos);
  EXPECT_NE(error({{"image_processor_type", "SiglipImageProcessor"}}).find("missing"),
            std::string::npos);
  EXPECT_NE(error(json::array()).find("object"), std::string::npos);
}

}  // namespace
}  // namespace parapet
