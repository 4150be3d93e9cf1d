// ONNX classifiers and embedding heads by card.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "engine/tiny_clip.h"
#include "parapet/core/error.h"
#include "parapet/engine/classifier/embedding_head.h"
#include "parapet/engine/classifier/image_classifier.h"
#include "parapet/engine/classifier/npy.h"
#include "parapet/nn/checkpoint.h"

namespace parapet {
namespace {

using test::TempFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;

template <class E>
std::string message_of(const std::function<void()>& fn) {
  try {
    fn();
  } catch (const E& error) {
    return error.what();
  }
  return "";
}

std::string tiny_onnx() {
  return std::string(PARAPET_SOURCE_DIR) + "/tests/goldens/classifier/tiny.onnx";
}

const std::string kCard =
    "name = \"tiny\"\nwidth = 16\nheight = 16\nscale = 0.00392156862745098\n"
    "mean = [0.5, 0.25, 0.0]\nstd = [0.5, 1.0, 2.0]\nactivation = \"softmax\"\n"
    "classes = [\"calm\", \"fire\", \"smoke\"]\ncategories = [\"\", \"fire\", \"fire\"]\n";

std::filesystem::path write_card(const TempFolder& folder, const std::string& text) {
  const auto card = folder / "card.toml";
  write_file_atomic(card, text);
  return card;
}

Image flat(uint8_t r, uint8_t g, uint8_t b, int64_t width = 30, int64_t height = 20) {
  Image image{width, height, {}};
  for (int64_t i = 0; i < width * height; ++i) image.rgb.insert(image.rgb.end(), {r, g, b});
  return image;
}

// tiny.onnx by hand: logits of the mean colour.
std::vector<double> expected(double r, double g, double b) {
  const double x[] = {(r / 255 - 0.5) / 0.5, g / 255 - 0.25, b / 255 / 2};
  const double w[3][3] = {{4, -1, 0}, {0, 3, -2}, {-1, 0.5, 5}}, bias[] = {0.1, 0.2, -0.3};
  std::vector<double> scores;
  double sum = 0;
  for (int k = 0; k < 3; ++k) {
    scores.push_back(std::exp(bias[k] + w[k][0] * x[0] + w[k][1] * x[1] + w[k][2] * x[2]));
    sum += scores.back();
  }
  for (double& score : scores) score /= sum;
  return scores;
}

TEST(ImageClassifier, ScoresAsTheCardSays) {
  const TempFolder folder;
  const auto card = write_card(folder, kCard + "model = \"" + tiny_onnx() + "\"\n");
  const auto classifier = ImageClassifier::load(card);
  const std::vector<Image> images = {flat(200, 30, 90), flat(10, 250, 60, 16, 50)};
  const auto scores = classifier->score(std::span<const Image>(images));
  ASSERT_EQ(scores.size(), 2u);
  const std::vector<std::vector<double>> want = {expected(200, 30, 90), expected(10, 250, 60)};
  for (size_t i = 0; i < 2; ++i)
    for (size_t k = 0; k < 3; ++k) EXPECT_NEAR(scores[i][k].score, want[i][k], 1e-5);
  EXPECT_EQ(scores[0][1].name, "fire");
  EXPECT_EQ(scores[0][2].category, "fire");
  EXPECT_EQ(scores[0][0].category, "");
  EXPECT_EQ(classifier->version().size(), 64u);
  EXPECT_NEAR(classifier->score(images[1])[1].score, scores[1][1].score, 1e-6);
  EXPECT_THROW(classifier->score(Image{}), DataError);
}

// Clamped, a logit below 0 would read as clean.
TEST(ImageClassifier, LogitsAreNoProbabilities) {
  const TempFolder folder;
  std::string card = kCard + "model = \"" + tiny_onnx() + "\"\n";
  card.replace(card.find("softmax"), 7, "none");
  const auto classifier = ImageClassifier::load(write_card(folder, card));
  EXPECT_THAT(message_of<DataError>([&] { classifier->score(flat(200, 30, 90)); }),
              AllOf(HasSubstr("no probability"), HasSubstr("activation")));
}

TEST(ImageClassifier, ChannelOrderAndLayout) {
  const TempFolder folder;
  const std::string base =
      "name = \"x\"\nwidth = 16\nheight = 16\nmean = [1.0, 2.0, 3.0]\n"
      "classes = [\"a\", \"b\", \"c\"]\nmodel = \"" +
      tiny_onnx() + "\"\n";
  const auto rgb = ImageClassifier::load(write_card(folder, base))->input_of(flat(10, 20, 30));
  EXPECT_FLOAT_EQ(rgb[0], 9);
  EXPECT_FLOAT_EQ(rgb[256], 18);
  const auto bgr = ImageClassifier::load(write_card(folder, base + "channels = \"BGR\"\n"))
                       ->input_of(flat(10, 20, 30));
  EXPECT_FLOAT_EQ(bgr[0], 29);
  EXPECT_FLOAT_EQ(bgr[512], 7);
}

TEST(ImageClassifier, BadCardsListEveryMistake) {
  const TempFolder folder;
  const auto bad = write_card(folder,
                              "name = \"x\"\nwidth = 0\nstd = [1.0, 0.0, 1.0]\n"
                              "categories = [\"a\"]\n");
  EXPECT_THAT(message_of<UsageError>([&] { ImageClassifier::load(bad); }),
              AllOf(HasSubstr("model"), HasSubstr("width"), HasSubstr("std"), HasSubstr("classes"),
                    HasSubstr("card.toml")));
  const auto unknown = write_card(folder, "nmae = \"x\"\n");
  EXPECT_THAT(message_of<UsageError>([&] { ImageClassifier::load(unknown); }), HasSubstr("name"));
  const auto missing = write_card(folder, kCard + "model = \"none.onnx\"\n");
  EXPECT_THAT(message_of<DataError>([&] { ImageClassifier::load(missing); }),
              HasSubstr("none.onnx"));
  const auto starred = write_card(folder, kCard + "model = \"no*.onnx\"\n");
  EXPECT_THAT(message_of<DataError>([&] { ImageClassifier::load(starred); }),
              HasSubstr("matches 0 files"));
}

TEST(ImageClassifier, CardAndModelMustFit) {
  const TempFolder folder;
  auto load = [&](const std::string& text) {
    const auto card = write_card(folder, text + "model = \"" + tiny_onnx() + "\"\n");
    return message_of<DataError>([&] { ImageClassifier::load(card); });
  };
  EXPECT_THAT(load("name = \"x\"\nclasses = [\"a\", \"b\", \"c\"]\n"), HasSubstr("224"));
  EXPECT_THAT(load("name = \"x\"\nwidth = 16\nheight = 16\nlayout = \"NHWC\"\n"
                   "classes = [\"a\", \"b\", \"c\"]\n"),
              HasSubstr("layout"));
  EXPECT_THAT(load("name = \"x\"\nwidth = 16\nheight = 16\nclasses = [\"a\", \"b\"]\n"),
              HasSubstr("3 values"));
  EXPECT_THAT(load(kCard + "output = 3\n"), HasSubstr("asks for number 3"));
  write_file_atomic(folder / "broken.onnx", "not a model");
  const auto card = write_card(folder, kCard + "model = \"broken.onnx\"\n");
  EXPECT_THAT(message_of<DataError>([&] { ImageClassifier::load(card); }),
              HasSubstr("broken.onnx"));
}

// ---- .npy --------------------------------------------------------------------

std::string npy(const std::string& descr, const std::string& shape, bool fortran,
                const std::string& data) {
  std::string header = "{'descr': '" + descr +
                       "', 'fortran_order': " + (fortran ? "True" : "False") +
                       ", 'shape': " + shape + ", }";
  while ((header.size() + 11) % 64 != 0) header += ' ';
  header += '\n';
  const auto size = static_cast<uint16_t>(header.size());
  std::string bytes = "\x93NUMPY";
  bytes += '\x01';
  bytes += '\0';
  bytes += static_cast<char>(size & 255);
  bytes += static_cast<char>(size >> 8);
  return bytes + header + data;
}

template <class T>
std::string raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

TEST(Npy, ReadsFloatsOfEverySizeAndOrder) {
  const TempFolder folder;
  auto load = [&](const std::string& bytes) {
    write_file_atomic(folder / "a.npy", bytes);
    return load_npy(folder / "a.npy");
  };
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const NpyArray plain = load(npy("<f4", "(2, 3)", false, raw(values)));
  EXPECT_EQ(plain.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(plain.values, values);
  EXPECT_EQ(load(npy("<f4", "(2, 3)", true, raw<float>({1, 4, 2, 5, 3, 6}))).values, values);
  EXPECT_EQ(load(npy("<f8", "(6,)", false, raw<double>({1, 2, 3, 4, 5, 6}))).values, values);
  EXPECT_EQ(load(npy("<f2", "(2,)", false, raw<uint16_t>({0x3c00, 0xc000}))).values,
            (std::vector<float>{1, -2}));
}

TEST(Npy, RefusesWhatDoesNotFit) {
  const TempFolder folder;
  auto error = [&](const std::string& bytes) {
    write_file_atomic(folder / "a.npy", bytes);
    return message_of<DataError>([&] { load_npy(folder / "a.npy"); });
  };
  const std::string data = raw<float>({1, 2});
  EXPECT_THAT(error("no array"), HasSubstr("not a .npy"));
  EXPECT_THAT(error(npy("<i4", "(2,)", false, data)), HasSubstr("float32"));
  EXPECT_THAT(error(npy("<f4", "(3,)", false, data)), HasSubstr("shape"));
  EXPECT_THAT(error(npy("<f4", "(99999999999, 99999999)", false, data)), HasSubstr("shape"));
  EXPECT_THAT(error(npy("<f4", "(2", false, data)), HasSubstr("shape"));
  EXPECT_THAT(error(npy("<f4", "(2,)", false, data).substr(0, 40)), HasSubstr("header"));
  // A header that ends behind its first key.
  EXPECT_THAT(error(std::string("\x93NUMPY\x01\x00\x0c\x00{'descr':   ", 22)),
              HasSubstr("has no 'descr'"));
}

// ---- heads -------------------------------------------------------------------

std::vector<float> values_of(const at::Tensor& x) {
  return {x.data_ptr<float>(), x.data_ptr<float>() + x.numel()};
}

// The layout of LAION's detectors: linear layers with relu (and dropout) between, a sigmoid.
TEST(EmbeddingHead, MlpComputesWhatTorchComputes) {
  const TempFolder folder;
  at::manual_seed(3);
  const at::Tensor w0 = at::randn({10, 6}), b0 = at::randn({10}), w1 = at::randn({1, 10}),
                   b1 = at::randn({1}), mean = at::randn({6}), variance = at::rand({6}) + 0.5;
  nn::NamedTensors tensors = {{"layers.3.weight", w1},
                              {"layers.3.bias", b1},
                              {"layers.0.weight", w0},
                              {"layers.0.bias", b0}};
  nn::save_tensors(folder / "head.safetensors", tensors);
  const std::string card =
      "name = \"h\"\nweights = \"head.safetensors\"\nclasses = [\"nsfw\"]\n"
      "categories = [\"sexual\"]\n";
  const at::Tensor x = at::randn({6}), unit = x / x.norm();
  auto reference = [&](const at::Tensor& in) {
    return at::linear(at::linear(in, w0, b0).relu(), w1, b1).sigmoid().item<float>();
  };
  const auto plain = EmbeddingHead::load(write_card(folder, card));
  EXPECT_EQ(plain->dim(), 6);
  EXPECT_NEAR(plain->score(values_of(x))[0].score, reference(unit), 1e-5);
  EXPECT_EQ(plain->score(values_of(x))[0].category, "sexual");
  const auto named =
      EmbeddingHead::load(write_card(folder, card + "layers = [\"layers.0\", \"layers.3\"]\n"
                                                    "activations = [\"gelu\", \"sigmoid\"]\n"));
  EXPECT_NEAR(named->score(values_of(x))[0].score,
              at::linear(at::gelu(at::linear(unit, w0, b0)), w1, b1).sigmoid().item<float>(), 1e-5);
  tensors.emplace_back("norm.mean", mean);
  tensors.emplace_back("norm.variance", variance);
  nn::save_tensors(folder / "head.safetensors", tensors);
  const auto normed = EmbeddingHead::load(
      write_card(folder, card + "input_mean = \"norm.mean\"\ninput_variance = \"norm.variance\"\n"
                                "unit_input = false\n"));
  EXPECT_NEAR(normed->score(values_of(x))[0].score, reference((x - mean) / variance.sqrt()), 1e-5);
  EXPECT_THROW(plain->score(std::vector<float>(5)), UsageError);
  EXPECT_THROW(plain->score(std::vector<float>(6, NAN)), DataError);
}

// LAION's head for H/14: layers 0, 3, ..., 15, 16; its last output is trained on 0 and 1 as it is,
// without a sigmoid, so that it may lie a little outside.
TEST(EmbeddingHead, RegressionIsHeldToProbabilities) {
  const TempFolder folder;
  at::manual_seed(8);
  const at::Tensor w0 = at::randn({5, 4}), w15 = at::randn({3, 5}), w16 = at::randn({1, 3});
  nn::save_tensors(folder / "head.safetensors",
                   {{"layers.0.weight", w0}, {"layers.15.weight", w15}, {"layers.16.weight", w16}});
  const auto head = EmbeddingHead::load(
      write_card(folder,
                 "name = \"h\"\nweights = \"head.safetensors\"\nclasses = [\"nsfw\"]\n"
                 "activations = [\"relu\", \"none\", \"none\"]\n"));
  int inside = 0, outside = 0;
  for (int i = 0; i < 40; ++i) {
    const at::Tensor x = at::randn({4});
    const float raw =
        at::matmul(w16, at::matmul(w15, at::matmul(w0, x / x.norm()).relu())).item<float>();
    (raw >= 0 && raw <= 1 ? inside : outside) += 1;
    EXPECT_NEAR(head->score(values_of(x))[0].score, std::clamp(raw, 0.0F, 1.0F), 1e-5);
  }
  EXPECT_GT(inside, 3);
  EXPECT_GT(outside, 3);
}

// Q16: softmax over the cosines with two prompts.
TEST(EmbeddingHead, PromptPair) {
  const TempFolder folder;
  write_file_atomic(folder / "p.npy", npy("<f4", "(2, 3)", false, raw<float>({2, 0, 0, 0, 3, 0})));
  const auto head = EmbeddingHead::load(
      write_card(folder,
                 "name = \"q16\"\nprompts = \"p.npy\"\ntemperature = 5.0\n"
                 "classes = [\"fine\", \"bad\"]\ncategories = [\"\", \"violence\"]\n"));
  const auto scores = head->score(std::vector<float>{3, 4, 0});
  EXPECT_NEAR(scores[1].score, 1 / (1 + std::exp(5 * (0.6 - 0.8))), 1e-5);
  EXPECT_NEAR(scores[0].score + scores[1].score, 1, 1e-6);
}

TEST(EmbeddingHead, SaysWhatDoesNotFit) {
  const TempFolder folder;
  nn::save_tensors(folder / "h.safetensors", {{"layers.0.weight", at::randn({4, 6})},
                                              {"layers.2.weight", at::randn({2, 5})}});
  const std::string card = "name = \"h\"\nweights = \"h.safetensors\"\n";
  auto error = [&](const std::string& more) {
    return message_of<DataError>([&] { EmbeddingHead::load(write_card(folder, card + more)); });
  };
  EXPECT_THAT(error("classes = [\"a\", \"b\"]\n"), HasSubstr("layers.2.weight"));
  EXPECT_THAT(error("classes = [\"a\"]\nlayers = [\"layer.0\"]\n"), HasSubstr("layers.0"));
  EXPECT_THAT(error("classes = [\"a\"]\nlayers = [\"layers.0\"]\n"), HasSubstr("4 values"));
  // What nothing would read is not passed over: a normalisation, a second network.
  const auto stored = [&](const std::string& name, const at::Tensor& more) {
    nn::save_tensors(folder / "h.safetensors",
                     {{"layers.0.weight", at::randn({1, 6})}, {name, more}});
  };
  stored("layers.1.running_mean", at::zeros({1}));
  EXPECT_THAT(error("classes = [\"a\"]\n"), HasSubstr("'layers.1.running_mean', which no layer"));
  EXPECT_EQ(error("classes = [\"a\"]\nlayers = [\"layers.0\"]\n"), "");  // named: the rest may lie
  stored("other.0.weight", at::randn({1, 6}));
  EXPECT_THAT(error("classes = [\"a\"]\n"), HasSubstr("two layers of number 0"));
  EXPECT_THAT(message_of<UsageError>(
                  [&] { EmbeddingHead::load(write_card(folder, card + "prompts = \"x.npy\"\n")); }),
              AllOf(HasSubstr("give one of them"), HasSubstr("classes")));
}

}  // namespace
}  // namespace parapet
