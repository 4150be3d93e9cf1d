// What the torch encoder does for a device: bytes normalised there, recorded small batches, and the
// whole of it on a second device.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "methods/golden_clip.h"
#include "parapet/core/random.h"
#include "parapet/engine/torch/pixel_normaliser.h"
#include "parapet/engine/torch/recorded_tower.h"
#include "parapet/engine/torch/torch_encoder.h"
#include "support/letter_tokenizer.h"
#include "support/second_device.h"

namespace parapet {
namespace {

Image random_image(int64_t side, Random& random) {
  Image image{side, side, std::vector<uint8_t>(static_cast<size_t>(side * side * 3))};
  for (auto& byte : image.rgb) byte = static_cast<uint8_t>(random.below(256));
  return image;
}

TEST(PixelNormaliser, MakesTheVeryNumbersOfTheProcessor) {
  Image image{16, 16, {}};  // every value in every channel
  for (int value = 0; value < 256; ++value)
    for (int channel = 0; channel < 3; ++channel)
      image.rgb.push_back(static_cast<uint8_t>((value + 85 * channel) % 256));
  struct Case {
    double rescale;
    bool narrow;
  };
  for (const auto& [rescale, narrow] : {Case{1.0 / 255, true}, {1.0, true}, {1.0 / 127.5, false}}) {
    nlohmann::json config = ImageProcessor::clip_default(16).to_json();
    config["rescale_factor"] = rescale;
    const auto processor = ImageProcessor::from_json(config, "test");
    at::Tensor expected = at::empty({1, 3, 16, 16}, at::kFloat);
    processor.normalise(image, expected.data_ptr<float>());
    const at::Tensor bytes = at::from_blob(image.rgb.data(), {1, 16, 16, 3}, at::kByte);
    const PixelNormaliser normaliser(processor, at::kCPU);
    EXPECT_EQ(normaliser.narrow(), narrow) << rescale;
    EXPECT_TRUE(normaliser(bytes).equal(expected)) << rescale;
    EXPECT_TRUE(normaliser(bytes).is_contiguous());
  }
}

// Records by keeping the work.
struct Replayed final : nn::DeviceGraph {
  explicit Replayed(std::function<void()> w, int* c) : work(std::move(w)), count(c) {}
  void replay() override {
    ++*count;
    if (work) work();
  }
  std::function<void()> work;
  int* count;
};

TEST(RecordedTower, RepeatedSmallShapesAreReplayedWithTheSameResult) {
  int direct = 0, replays = 0;
  const at::Tensor weight = at::sin(at::arange(12, at::kFloat)).view({4, 3});
  RecordedTower tower(
      [&](const at::Tensor& x) {
        ++direct;
        return at::mm(x, weight);
      },
      [&](const std::function<void()>& work) {
        return std::make_unique<Replayed>(work, &replays);
      });
  for (const int64_t rows : {5, 7, 6, 8, 5, 1}) {  // up to 8 rows share one recording
    const at::Tensor x = at::cos(at::arange(rows * 4, at::kFloat) + rows).view({rows, 4});
    EXPECT_TRUE(at::allclose(tower.run(x), at::mm(x, weight), 1e-5, 1e-6)) << rows;
  }
  EXPECT_EQ(tower.recordings(), 1u);
  EXPECT_EQ(replays, 4);  // the check of the recording, and three calls
  const at::Tensor large = at::ones({65, 4});
  for (int i = 0; i < 3; ++i) tower.run(large);
  EXPECT_EQ(tower.recordings(), 1u);
  EXPECT_FALSE(tower.given_up());
}

TEST(RecordedTower, AResultIsNotChangedByTheNextCall) {
  int replays = 0;
  RecordedTower tower([](const at::Tensor& x) { return x * 2; },
                      [&](const std::function<void()>& work) {
                        return std::make_unique<Replayed>(work, &replays);
                      });
  for (int i = 0; i < 2; ++i) tower.run(at::ones({2, 2}));
  const at::Tensor first = tower.run(at::full({2, 2}, 3.0));
  tower.run(at::full({2, 2}, 5.0));
  EXPECT_TRUE(first.eq(6).all().item<bool>());
}

TEST(RecordedTower, GivesUpWhereRecordingFailsOrGoesWrong) {
  int replays = 0;
  const RecordedTower::Tower twice = [](const at::Tensor& x) { return x * 2; };
  RecordedTower failing(twice,
                        [](const std::function<void()>&) -> std::unique_ptr<nn::DeviceGraph> {
                          throw std::runtime_error("not here");
                        });
  RecordedTower wrong(twice, [&](const std::function<void()>& work) {
    work();  // the output keeps what the empty input gave
    return std::make_unique<Replayed>(nullptr, &replays);
  });
  for (auto* tower : {&failing, &wrong}) {
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(tower->run(at::ones({2, 2})).eq(2).all().item<bool>());
    EXPECT_TRUE(tower->given_up());
    EXPECT_EQ(tower->recordings(), 0u);
  }
}

TEST(SecondDevice, RefusesMixedTensorsAndComputesLikeTheCpu) {
  const at::Tensor x = at::arange(6, at::kFloat).view({2, 3}), there = x.to(test::second_device());
  EXPECT_THROW(x + there, c10::Error);
  EXPECT_THROW(there.index_select(0, at::zeros({1}, at::kLong)), c10::Error);
  const at::Tensor weight = there.detach().clone().requires_grad_(true);
  const at::Tensor product = at::mm(there, weight.t()).softmax(1);
  EXPECT_EQ(product.device(), test::second_device());
  EXPECT_TRUE(at::allclose(product.cpu(), at::mm(x, x.t()).softmax(1)));
  product.select(1, 0).sum().backward();
  EXPECT_EQ(weight.grad().device(), test::second_device());
  EXPECT_GT(weight.grad().cpu().abs().max().item<double>(), 0);
  EXPECT_TRUE(at::equal(at::arange(3, weight.options().requires_grad(false)).cpu(),
                        at::arange(3, at::kFloat)));
}

TEST(SecondDevice, EncodesLikeTheCpu) {
  ClipModel here = test::golden_clip(), there = test::golden_clip();
  nn::move_to(there, test::second_device());
  ClipAssets assets;
  assets.tokenizer = std::make_shared<test::LetterTokenizer>();
  assets.processor = ImageProcessor::clip_default(20);
  EncoderOptions options;
  options.batch_images = 3;
  options.batch_texts = 2;
  const auto expected = wrap_encoder(here, assets, options);
  options.device = test::second_device().str();
  const auto encoder = wrap_encoder(there, assets, options);
  Random random(3);
  std::vector<Image> images;
  for (int i = 0; i < 7; ++i) images.push_back(random_image(20 + 3 * i, random));
  const at::Tensor rows = encoder->encode_images(images, {});
  EXPECT_TRUE(rows.is_cpu());
  EXPECT_TRUE(at::allclose(rows, expected->encode_images(images, {}), 1e-5, 1e-6));
  const std::vector<std::string> texts = {"one", "", "three words here", "two", "abcdefghij"};
  EXPECT_TRUE(at::allclose(encoder->encode_texts(texts, {}), expected->encode_texts(texts, {}),
                           1e-5, 1e-6));
}

}  // namespace
}  // namespace parapet
