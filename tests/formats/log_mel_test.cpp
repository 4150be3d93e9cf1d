// The transform against its definition, and properties of the features; equality with transformers
// is tested in tests/conformance/test_media.py.
#include "parapet/formats/log_mel.h"

#include <gtest/gtest.h>

#include <cmath>
#include <complex>
#include <nlohmann/json.hpp>
#include <numbers>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/random.h"
#include "support/data_error.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

using nlohmann::json;

std::vector<float> noise(int64_t samples, uint64_t seed) {
  Random random(seed);
  std::vector<float> out;
  for (int64_t i = 0; i < samples; ++i)
    out.push_back(static_cast<float>(random.below(20001)) / 10000.0f - 1);
  return out;
}

TEST(PowerSpectrum, IsTheSquareOfTheFourierTransform) {
  for (const int64_t size : {4, 6, 10, 12, 30, 48, 50, 64, 120, 400, 450, 512}) {
    const PowerSpectrum spectrum(size);
    constexpr int64_t kLanes = PowerSpectrum::kLanes;
    std::vector<double> frames;
    for (const float sample : noise(size * kLanes, 3)) frames.push_back(sample);
    std::vector<double> power(static_cast<size_t>(spectrum.bins() * kLanes));
    std::vector<double> workspace(static_cast<size_t>(spectrum.workspace()));
    spectrum.compute(frames.data(), power.data(), workspace.data());
    for (int64_t lane = 0; lane < kLanes; ++lane)
      for (int64_t k = 0; k < spectrum.bins(); ++k) {
        std::complex<double> sum = 0;
        for (int64_t i = 0; i < size; ++i)
          sum += frames[static_cast<size_t>(i * kLanes + lane)] *
                 std::polar(1.0, -2 * std::numbers::pi * static_cast<double>(i * k % size) /
                                     static_cast<double>(size));
        EXPECT_NEAR(power[static_cast<size_t>(k * kLanes + lane)], std::norm(sum),
                    1e-11 * static_cast<double>(size))
            << size << " lane " << lane << " bin " << k;
      }
  }
}

TEST(PowerSpectrum, RefusesSizesItCannotDo) {
  for (const int64_t size : {0, -4, 2, 5, 7, 14, 401, 1 << 21})
    EXPECT_THROW(PowerSpectrum{size}, UsageError) << size;
}

TEST(LogMel, SilenceIsMinusOneAndAHalf) {
  const std::vector<float> silence(16000, 0.0f);
  const LogMelFeatures features = LogMel().extract({silence});
  EXPECT_EQ(features.mel_bins, 128);
  EXPECT_EQ(features.frames, 3000);
  ASSERT_EQ(features.values.size(), 128u * 3000);
  for (const float value : features.values) ASSERT_EQ(value, -1.5f);
}

TEST(LogMel, MaskCoversTheWaveform) {
  const std::vector<float> a = noise(16000, 1);
  const std::vector<float> b = noise(1601, 2);
  const LogMelFeatures features = LogMel().extract({a, b}, MelPadding::kLongest);
  ASSERT_EQ(features.frames, 100);
  ASSERT_EQ(features.batch, 2);
  for (int64_t t = 0; t < 100; ++t) {
    EXPECT_EQ(features.mask[static_cast<size_t>(t)], 1);
    EXPECT_EQ(features.mask[static_cast<size_t>(100 + t)], t <= 10 ? 1 : 0) << t;
  }
}

TEST(LogMel, ARowDoesNotDependOnTheBatch) {
  const std::vector<float> a = noise(7000, 1);
  const std::vector<float> b = noise(3100, 2);
  const LogMel log_mel;
  const LogMelFeatures both = log_mel.extract({a, b});
  const LogMelFeatures alone = log_mel.extract({b});
  EXPECT_TRUE(std::equal(alone.values.begin(), alone.values.end(),
                         both.values.begin() + static_cast<int64_t>(alone.values.size())));
}

TEST(LogMel, LongWaveformsAreCutToTheChunk) {
  std::vector<float> a = noise(16000 * 31, 1);
  const LogMel log_mel({.mel_bins = 80});
  const LogMelFeatures whole = log_mel.extract({a}, MelPadding::kLongest);
  a.resize(16000 * 30);
  EXPECT_EQ(whole.values, log_mel.extract({a}).values);
  EXPECT_EQ(whole.frames, 3000);
}

// A tone is loudest in the filter around it.
TEST(LogMel, ATonePeaksWhereItIs) {
  std::vector<float> tone;
  for (int i = 0; i < 16000; ++i)
    tone.push_back(static_cast<float>(0.5 * std::sin(2 * std::numbers::pi * 1000 * i / 16000)));
  const LogMelFeatures features = LogMel({.mel_bins = 80}).extract({tone}, MelPadding::kLongest);
  // Of 45.245 mel in all, 1,000 Hz are at 15; corners lie 45.245 / 81 apart.
  for (const int64_t t : {10, 50, 90}) {
    int64_t loudest = 0;
    for (int64_t m = 0; m < 80; ++m)
      if (features.values[static_cast<size_t>(m * features.frames + t)] >
          features.values[static_cast<size_t>(loudest * features.frames + t)])
        loudest = m;
    EXPECT_NEAR(static_cast<double>(loudest), 15 / (45.245 / 81) - 1, 1) << t;
  }
}

TEST(LogMel, RefusesWaveformsWithoutSense) {
  const LogMel log_mel;
  const std::vector<float> empty;
  const std::vector<float> shorter(100, 0.5f);
  std::vector<float> bad(1000, 0.5f);
  bad[500] = std::nanf("");
  EXPECT_NE(data_error([&] { log_mel.extract({empty}); }).find("waveform 0: has no samples"),
            std::string::npos);
  EXPECT_NE(data_error([&] {
              log_mel.extract({shorter, bad});
            }).find("waveform 1"),
            std::string::npos);
  EXPECT_NE(
      data_error([&] { log_mel.extract({shorter}, MelPadding::kLongest); }).find("100 samples"),
      std::string::npos);
  EXPECT_EQ(log_mel.extract({shorter}).frames, 3000);
  EXPECT_EQ(log_mel.extract({}).values.size(), 0u);
}

TEST(LogMel, ReadsTheFilesOfTransformers) {
  const test::TempFolder folder;
  const json whisper = {{"feature_extractor_type", "WhisperFeatureExtractor"},
                        {"feature_size", 128},
                        {"sampling_rate", 16000},
                        {"hop_length", 160},
                        {"chunk_length", 30},
                        {"n_fft", 400},
                        {"n_samples", 480000},
                        {"nb_max_frames", 3000},
                        {"padding_side", "right"},
                        {"padding_value", 0.0},
                        {"dither", 0.0},
                        {"return_attention_mask", true},
                        {"processor_class", "Qwen2AudioProcessor"}};
  write_file_atomic(folder / "preprocessor_config.json", json{{"feature_size", 80}}.dump());
  EXPECT_EQ(LogMel::load(folder.path()).options().mel_bins, 80);
  write_file_atomic(folder / "processor_config.json", json{{"feature_extractor", whisper}}.dump());
  EXPECT_EQ(LogMel::load(folder.path()).options().mel_bins, 128);
  for (const auto& [field, value] :
       std::vector<std::pair<std::string, json>>{{"dither", 0.1},
                                                 {"n_fft", 401},
                                                 {"feature_size", 0},
                                                 {"padding_value", 1.0},
                                                 {"padding_side", "left"},
                                                 {"do_normalize", true},
                                                 {"feature_extractor_type", "ClapFeatureExtractor"},
                                                 {"mel_scale", "htk"},
                                                 {"hop_length", "160"}}) {
    json config = whisper;
    config[field] = value;
    const std::string message = data_error([&] { LogMel::from_json(config, "c.json"); });
    EXPECT_TRUE(message.starts_with("c.json: ")) << field << ": " << message;
    if (field != "feature_size") EXPECT_NE(message.find(field), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace parapet
