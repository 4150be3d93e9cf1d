#include "parapet/formats/log_mel.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "parapet/core/error.h"
#include "parapet/core/options.h"

namespace parapet {
namespace {

constexpr int64_t kLanes = PowerSpectrum::kLanes;
constexpr double kHighestHertz = 8000;
constexpr double kFloor = 1e-10;    // of a mel power, before the logarithm
constexpr float kDynamicRange = 8;  // decades below the loudest that are kept
constexpr double kLog10OfE = 0.43429448190325182765;

// Slaney's mel scale: linear up to 1,000 Hz, which is 15 mel, logarithmic above.
constexpr double kLinearHertz = 1000;
constexpr double kLinearMel = 15;
double log_step() { return std::log(6.4) / 27; }

double to_mel(double hertz) {
  if (hertz < kLinearHertz) return 3 * hertz / 200;
  return kLinearMel + std::log(hertz / kLinearHertz) / log_step();
}

double to_hertz(double mel) {
  if (mel < kLinearMel) return 200 * mel / 3;
  return kLinearHertz * std::exp(log_step() * (mel - kLinearMel));
}

const LogMelOptions& checked(const LogMelOptions& options) {
  Problems problems;
  problems.require(options.mel_bins >= 1 && options.mel_bins <= 1024, "mel_bins",
                   "must be 1..1024");
  problems.require(options.sample_rate >= 1000 && options.sample_rate <= 768000, "sample_rate",
                   "must be 1000..768000");
  problems.require(PowerSpectrum::can_be(options.n_fft) && options.n_fft <= 65536, "n_fft",
                   "must be even, 4..65536, without prime factors above 5");
  problems.require(options.hop_length >= 1 && options.hop_length <= 65536, "hop_length",
                   "must be 1..65536");
  problems.require(options.chunk_seconds >= 1 && options.chunk_seconds <= 3600, "chunk_seconds",
                   "must be 1..3600");
  problems.throw_if_any("log-mel features");
  return options;
}

// numpy.pad's "reflect": mirrored at both ends without repeating the end, as often as needed.
int64_t reflect(int64_t at, int64_t length) {
  if (length == 1) return 0;
  const int64_t period = 2 * (length - 1);
  at = std::abs(at) % period;
  return at < length ? at : period - at;
}

}  // namespace

LogMel::LogMel(const LogMelOptions& options)
    : options_(checked(options)), spectrum_(options.n_fft) {
  // Hann, periodic.
  for (int64_t i = 0; i < options_.n_fft; ++i)
    window_.push_back(0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) /
                                           static_cast<double>(options_.n_fft)));
  make_filters();
}

// Triangles between neighbouring points of the mel scale, each of equal area (Slaney's norm).
void LogMel::make_filters() {
  const double top = to_mel(kHighestHertz);
  std::vector<double> corners;
  for (int64_t i = 0; i < options_.mel_bins + 2; ++i)
    corners.push_back(
        to_hertz(top * static_cast<double>(i) / static_cast<double>(options_.mel_bins + 1)));
  const int64_t half_rate = options_.sample_rate / 2;  // a whole number, as transformers has it
  const double bin_hertz =
      static_cast<double>(half_rate) / static_cast<double>(spectrum_.bins() - 1);
  for (size_t m = 0; m + 2 < corners.size(); ++m) {
    const double low = corners[m];
    const double peak = corners[m + 1];
    const double high = corners[m + 2];
    Filter filter{0, {}};
    for (int64_t bin = 0; bin < spectrum_.bins(); ++bin) {
      const double hertz = bin_hertz * static_cast<double>(bin);
      const double weight = std::min((hertz - low) / (peak - low), (high - hertz) / (high - peak));
      if (weight <= 0) continue;
      if (filter.weights.empty()) filter.first_bin = bin;
      filter.weights.push_back(weight * 2 / (high - low));
    }
    filters_.push_back(std::move(filter));
  }
}

void LogMel::transform(std::span<const float> waveform, int64_t length, int64_t frames,
                       float* out) const {
  const int64_t n_fft = options_.n_fft;
  const auto given = static_cast<int64_t>(waveform.size());
  const int64_t bins = options_.mel_bins;
  std::vector<double> block(static_cast<size_t>(n_fft * kLanes));
  std::vector<double> power(static_cast<size_t>(spectrum_.bins() * kLanes));
  std::vector<double> workspace(static_cast<size_t>(spectrum_.workspace()));
  const auto silence = static_cast<float>(std::log10(kFloor));
  float loudest = silence;
  for (int64_t first = 0; first < frames; first += kLanes) {
    const int64_t lanes = std::min(kLanes, frames - first);
    const int64_t begin = first * options_.hop_length - n_fft / 2;
    const int64_t end = begin + (lanes - 1) * options_.hop_length + n_fft;
    // Padding is silent, except where it mirrors the end of a waveform that fills the length.
    if (begin >= given && end <= length) {
      for (int64_t m = 0; m < bins; ++m) std::fill_n(out + m * frames + first, lanes, silence);
      continue;
    }
    std::fill(block.begin(), block.end(), 0.0);
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const int64_t from = begin + lane * options_.hop_length;
      for (int64_t i = 0; i < n_fft; ++i) {
        int64_t at = from + i;
        if (at < 0 || at >= length) at = reflect(at, length);
        if (at < given)
          block[static_cast<size_t>(i * kLanes + lane)] =
              static_cast<double>(waveform[static_cast<size_t>(at)]) *
              window_[static_cast<size_t>(i)];
      }
    }
    spectrum_.compute(block.data(), power.data(), workspace.data());
    for (int64_t m = 0; m < bins; ++m) {
      const Filter& filter = filters_[static_cast<size_t>(m)];
      double sums[kLanes] = {};
      const double* at = power.data() + filter.first_bin * kLanes;
      for (const double weight : filter.weights)
        for (int64_t l = 0; l < kLanes; ++l) sums[l] += weight * *at++;
      for (int64_t l = 0; l < lanes; ++l) {
        const auto value = static_cast<float>(std::log(std::max(sums[l], kFloor)) * kLog10OfE);
        loudest = std::max(loudest, value);
        out[m * frames + first + l] = value;
      }
    }
  }
  const float lowest = loudest - kDynamicRange;
  for (int64_t i = 0; i < bins * frames; ++i) out[i] = (std::max(out[i], lowest) + 4) / 4;
}

LogMelFeatures LogMel::extract(const std::vector<std::span<const float>>& waveforms,
                               MelPadding padding) const {
  const int64_t chunk = options_.chunk_seconds * options_.sample_rate;
  int64_t longest = 0;
  for (size_t i = 0; i < waveforms.size(); ++i) {
    const std::string source = "waveform " + std::to_string(i);
    if (waveforms[i].empty()) throw DataError(source, "has no samples");
    const bool finite = std::all_of(waveforms[i].begin(), waveforms[i].end(),
                                    [](float sample) { return std::isfinite(sample); });
    if (!finite) throw DataError(source, "has a sample that is not a finite number");
    longest = std::max(longest, std::min(chunk, static_cast<int64_t>(waveforms[i].size())));
  }
  const int64_t length = padding == MelPadding::kChunk ? chunk : longest;
  LogMelFeatures features;
  features.batch = static_cast<int64_t>(waveforms.size());
  features.mel_bins = options_.mel_bins;
  features.frames = length / options_.hop_length;
  if (features.frames == 0 && features.batch > 0)
    throw DataError("waveform 0",
                    "is " + std::to_string(length) + " samples long; one frame takes " +
                        std::to_string(options_.hop_length),
                    "Pad to whole chunks, or leave out so short a sound.");
  const int64_t size = features.mel_bins * features.frames;
  features.values.resize(static_cast<size_t>(features.batch * size));
  features.mask.resize(static_cast<size_t>(features.batch * features.frames));
  for (int64_t row = 0; row < features.batch; ++row) {
    std::span<const float> waveform = waveforms[static_cast<size_t>(row)];
    waveform = waveform.first(std::min(waveform.size(), static_cast<size_t>(length)));
    transform(waveform, length, features.frames, features.values.data() + row * size);
    for (int64_t t = 0; t < features.frames; ++t)
      features.mask[static_cast<size_t>(row * features.frames + t)] =
          t * options_.hop_length < static_cast<int64_t>(waveform.size()) ? 1 : 0;
  }
  return features;
}

}  // namespace parapet
