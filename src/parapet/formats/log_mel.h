// The log-mel spectrogram that Whisper-style encoders take, as transformers'
// WhisperFeatureExtractor computes it (values within 1e-4).
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "parapet/formats/power_spectrum.h"

namespace parapet {

struct LogMelOptions {
  int64_t mel_bins = 128;       // 128 for Qwen2-Audio and Whisper large-v3, 80 for older Whispers
  int64_t sample_rate = 16000;  // of the waveforms, in Hz; the mel scale ends at 8,000 Hz
  int64_t n_fft = 400;          // samples in a frame; even, without prime factors above 5
  int64_t hop_length = 160;     // samples between the starts of two frames
  int64_t chunk_seconds = 30;   // longer waveforms are cut to this
};

enum class MelPadding {
  kChunk,    // every waveform to `chunk_seconds` ("max_length" in transformers)
  kLongest,  // to the longest of the batch
};

struct LogMelFeatures {
  int64_t batch = 0;
  int64_t mel_bins = 0;
  int64_t frames = 0;
  std::vector<float> values;  // [batch, mel_bins, frames]
  std::vector<int32_t> mask;  // [batch, frames]; 1 where a frame starts inside its waveform
};

class LogMel {
 public:
  // UsageError names every field that cannot be.
  explicit LogMel(const LogMelOptions& options = {});
  // A `preprocessor_config.json`, or a folder that holds one or a `processor_config.json` with a
  // "feature_extractor". DataError: missing file, wrong types, or a field that changes features in
  // a way that is not supported here, named.
  static LogMel load(const std::filesystem::path& model_dir_or_json);
  static LogMel from_json(const nlohmann::json& config, std::string_view source);

  const LogMelOptions& options() const { return options_; }
  // Of mono waveforms at `sample_rate`. DataError: a waveform without samples or with one that is
  // no number, or a batch too short for a frame. Silence gives -1.5 everywhere.
  LogMelFeatures extract(const std::vector<std::span<const float>>& waveforms,
                         MelPadding padding = MelPadding::kChunk) const;

 private:
  // One triangle of the filter bank, without its zeros.
  struct Filter {
    int64_t first_bin;
    std::vector<double> weights;
  };
  void make_filters();
  // Fills out[mel_bins, frames] from a waveform that is silent behind its end.
  void transform(std::span<const float> waveform, int64_t length, int64_t frames, float* out) const;

  LogMelOptions options_;
  PowerSpectrum spectrum_;
  std::vector<double> window_;
  std::vector<Filter> filters_;
};

}  // namespace parapet
