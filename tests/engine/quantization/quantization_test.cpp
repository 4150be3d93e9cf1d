// int8: ranges, their file, calibration and its gate.
#include "parapet/engine/quantization/quantization.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/tiny_clip.h"
#include "parapet/core/error.h"
#include "parapet/engine/cache/cached_encoder.h"
#include "parapet/engine/encoder/open_encoder.h"
#include "parapet/engine/openvino/openvino_encoder.h"
#include "parapet/engine/quantization/calibrate.h"
#include "parapet/engine/quantization/calibrate_ranges.h"

namespace parapet {
namespace {

using test::TempFolder;
using ::testing::HasSubstr;

std::string data_error(const std::function<void()>& fn) {
  try {
    fn();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

// One model, calibrated once for all tests of this file.
struct Calibrated {
  TempFolder folder;
  CalibrationSet calibration, held_out;
  CalibrationResult result;
  Calibrated() {
    test::write_tiny_clip(folder.path());
    calibration = {test::write_pictures(folder.path(), 12, 100), test::captions(12, 1)};
    held_out = {test::write_pictures(folder.path(), 10, 200), test::captions(10, 2)};
    result = calibrate(folder.path(), calibration, held_out, {}, {});
  }
};
const Calibrated& calibrated() {
  static const Calibrated instance;
  return instance;
}

TEST(SetRange, HasALevelAtZero) {
  for (const auto& [low, high, shape] : {std::tuple(-0.17, 3.0, RangeShape::kFull),
                                         {-2.0, 1.0, RangeShape::kSymmetric},
                                         {0.0, 5.0, RangeShape::kFull},
                                         {-1.0, 0.0, RangeShape::kFull}}) {
    QuantizationPoint point;
    set_range(point, low, high, shape);
    const double step = (point.high - point.low) / 255.0;
    EXPECT_NEAR(std::remainder(point.low, step), 0, 1e-6);
    EXPECT_LE(point.low, low + step);
    EXPECT_GE(point.high, high - step);
  }
}

TEST(ChoosePoint, SmoothsAnOutlierChannel) {
  at::manual_seed(5);
  at::Tensor x = at::randn({64, 32});
  x.select(1, 7) *= 60;
  const at::Tensor w = at::randn({48, 32}) / 6;
  ChannelExtremes extremes;
  extremes.add(x, x);
  QuantizationPoint point;
  const PointChoice choice = choose_point(x, w, extremes, RangeShape::kSymmetric, point);
  EXPECT_GT(choice.alpha, 0);
  ASSERT_EQ(point.smooth.size(), 32u);
  EXPECT_EQ(std::max_element(point.smooth.begin(), point.smooth.end()) - point.smooth.begin(), 7);
  EXPECT_LT(choice.error, 1e-3);
}

TEST(ChooseRange, LeavesTheErrorOf256Levels) {
  at::manual_seed(6);
  const at::Tensor x = at::rand({400, 32}) * 2 - 1;
  ChannelExtremes extremes;
  extremes.add(x, x);
  QuantizationPoint point;
  const PointChoice choice = choose_range(x, extremes, point);
  EXPECT_EQ(choice.clip, 1);
  EXPECT_TRUE(point.smooth.empty());
  EXPECT_NEAR(point.low, -point.high * 128 / 127, 1e-6);
  const double step = (point.high - point.low) / 255.0;
  EXPECT_NEAR(choice.error, step * step / 12 / (1.0 / 3), 0.1 * choice.error);
}

TEST(Calibrate, Int8StaysCloseToFp32) {
  const auto& result = calibrated().result;
  EXPECT_TRUE(result.passed());
  ASSERT_EQ(result.gates.size(), 2u);
  EXPECT_GE(result.gates[0].value, 0.995);
  EXPECT_GE(result.gates[1].value, 0.995);
  EXPECT_EQ(result.image_cosines.size(), 10u);
  EXPECT_EQ(result.choices.size(), 2u * 3 * 6);
  // Quantization happened: the result is close, not equal.
  EXPECT_LT(result.gates[0].value, 0.9999999);
}

TEST(Calibrate, RangesRoundTripAndRun) {
  const TempFolder folder;
  std::filesystem::copy(
      calibrated().folder.path(), folder.path(),
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  calibrated().result.ranges.save(folder.path());
  const std::string hash = weights_file_hash(folder.path());
  const auto loaded =
      QuantizationRanges::load(folder.path(), ClipConfig::load(folder.path()), hash);
  EXPECT_EQ(loaded.hash(), calibrated().result.ranges.hash());
  EncoderOptions options{.backend = "openvino", .precision = "int8"};
  const auto quantized = open_encoder(folder.path(), options, {});
  options.precision = "fp32";
  const auto exact = open_encoder(folder.path(), options, {});
  options.precision = "auto";
  const auto chosen = open_encoder(folder.path(), options, {});
  const auto texts = test::captions(6, 9);
  const at::Tensor rows = quantized->encode_texts(texts, {});
  const double cosine = (rows * exact->encode_texts(texts, {})).sum(-1).mean().item<double>();
  EXPECT_GE(cosine, 0.995);
  EXPECT_LT(cosine, 0.9999999);
  EXPECT_TRUE(at::equal(chosen->encode_texts(texts, {}), rows));
  EXPECT_EQ(chosen->identity(), quantized->identity());
  EXPECT_NE(exact->identity(), quantized->identity());
}

// What `parapet quantize` writes beside the weights is not the model.
TEST(ContentKey, IsThatOfTheModelWhateverLiesBeside) {
  const TempFolder folder;
  std::filesystem::copy(calibrated().folder.path(), folder.path());
  const EncoderOptions fp32{.backend = "openvino", .precision = "fp32"};
  EncoderOptions int8{.backend = "openvino", .precision = "int8"};
  const auto& from = calibrated().folder.path();
  const std::string model = model_content_key(from);
  const std::string weights = weights_file_hash(from);
  calibrated().result.ranges.save(folder.path());
  write_file_atomic(folder / "report.json", "{}");
  write_file_atomic(folder / "guard_heads.json", "{}");
  write_file_atomic(folder / "guard_heads.safetensors", "heads");
  EXPECT_EQ(model_content_key(folder.path()), model);
  EXPECT_EQ(weights_file_hash(folder.path()), weights);
  EXPECT_EQ(encoder_key(folder.path(), fp32), encoder_key(from, fp32));
  for (const char* precision : {"int8", "auto"}) {
    int8.precision = precision;
    const std::string first = encoder_key(folder.path(), int8);
    EXPECT_NE(first, encoder_key(from, int8));
    QuantizationRanges other = calibrated().result.ranges;
    other.points.begin()->second.high *= 2;
    other.save(folder.path());
    EXPECT_NE(encoder_key(folder.path(), int8), first);
    calibrated().result.ranges.save(folder.path());
  }
  test::write_tiny_clip(folder.path(), {}, 2);
  EXPECT_NE(model_content_key(folder.path()), model);
}

TEST(ContentKey, OfAnAdapterIsItsConfigurationAndWeights) {
  const TempFolder folder;
  write_file_atomic(folder / "adapter_config.json", "{}");
  write_file_atomic(folder / "adapter_model.safetensors", "one");
  const std::string key = model_content_key(folder.path());
  write_file_atomic(folder / "README.txt", "notes");
  EXPECT_EQ(model_content_key(folder.path()), key);
  write_file_atomic(folder / "adapter_config.json", R"({"r": 4})");
  const std::string other = model_content_key(folder.path());
  EXPECT_NE(other, key);
  write_file_atomic(folder / "adapter_model.safetensors", "two");
  EXPECT_NE(model_content_key(folder.path()), other);
}

TEST(Calibrate, SensitiveLayersStayInFloat) {
  CalibrateOptions options;
  options.target_cosine = 1.0;  // never reached: layers are kept up to the limit
  options.max_kept = 0.5;
  const auto& known = calibrated();
  const auto result =
      calibrate(known.folder.path(), known.calibration, known.held_out, options, {});
  int64_t kept = 0;
  double least_kept = 1, most_quantized = 0;
  for (const auto& choice : result.choices) {
    if (!choice.name.starts_with("vision")) continue;
    kept += choice.kept_float ? 1 : 0;
    (choice.kept_float ? least_kept : most_quantized) =
        choice.kept_float ? std::min(least_kept, choice.error)
                          : std::max(most_quantized, choice.error);
  }
  EXPECT_EQ(kept, 9);  // half of 3 layers x 6 points
  EXPECT_GE(least_kept, most_quantized);
  EXPECT_GT(result.gates[0].value, known.result.gates[0].value);
}

TEST(Calibrate, GateFailsWhereAskedTooMuch) {
  CalibrateOptions options;
  options.min_cosine = 1.0;
  options.max_kept = 0;
  options.gates = {[](Encoder& reference, Encoder& quantized) {
    return std::vector<GateResult>{
        {"dims", static_cast<double>(reference.dim() - quantized.dim()), 0, true},
        {"other", 1, 0, false}};
  }};
  const auto& known = calibrated();
  const auto result =
      calibrate(known.folder.path(), known.calibration, known.held_out, options, {});
  EXPECT_FALSE(result.passed());
  ASSERT_EQ(result.gates.size(), 4u);
  EXPECT_TRUE(result.gates[2].passed);
  EXPECT_FALSE(result.gates[3].passed);
}

TEST(Calibrate, HeldOutInputsMustBeNew) {
  const auto& known = calibrated();
  CalibrationSet shared = known.held_out;
  shared.images[3] = known.calibration.images[5];
  EXPECT_THAT(
      data_error([&] { calibrate(known.folder.path(), known.calibration, shared, {}, {}); }),
      HasSubstr("used for calibration too"));
  shared = known.held_out;
  shared.texts[0] = known.calibration.texts[0];
  EXPECT_THAT(
      data_error([&] { calibrate(known.folder.path(), known.calibration, shared, {}, {}); }),
      HasSubstr("used for calibration too"));
  shared.texts.resize(3);
  EXPECT_THAT(
      data_error([&] { calibrate(known.folder.path(), known.calibration, shared, {}, {}); }),
      HasSubstr("at least 8"));
}

TEST(Ranges, StaleOrDamagedFilesAreRefused) {
  const TempFolder folder;
  std::filesystem::copy(
      calibrated().folder.path(), folder.path(),
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::overwrite_existing);
  QuantizationRanges ranges = calibrated().result.ranges;
  ranges.save(folder.path());
  test::write_tiny_clip(folder.path(), {}, 7);  // other weights
  const EncoderOptions options{.backend = "openvino", .precision = "int8"};
  EXPECT_THAT(data_error([&] { open_encoder(folder.path(), options, {}); }),
              HasSubstr("other weights"));
  ranges.weights_hash = weights_file_hash(folder.path());
  ranges.points["vision.layers.1.fc1"].low = 5;
  ranges.points["vision.layers.1.fc1"].high = 1;
  ranges.points["text.layers.0.qkv"].smooth = {1, 2, 3};
  ranges.points.erase("vision.layers.2.out");
  ranges.save(folder.path());
  const std::string message = data_error([&] { open_encoder(folder.path(), options, {}); });
  EXPECT_THAT(message, HasSubstr("vision.layers.1.fc1.range"));
  EXPECT_THAT(message, HasSubstr("text.layers.0.qkv.smooth"));
  EXPECT_THAT(message, HasSubstr("vision.layers.2.out.range"));
}

}  // namespace
}  // namespace parapet
