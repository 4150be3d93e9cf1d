#include "parapet/formats/image_hash.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <vector>

#include "parapet/core/target_clones.h"

// Loops over floats that the vectoriser may have.
#define PARAPET_CLONES PARAPET_VECTOR_CLONES("avx2", "default")

namespace parapet {
namespace {

constexpr int kSide = 64;   // samples per side
constexpr int kWaves = 16;  // frequencies per side, without the constant one
constexpr int64_t kMinSide = 5;

using Samples = std::array<float, kSide * kSide>;
using Waves = std::array<float, kWaves * kWaves>;

// One sample of the twice box-filtered signal: weights over the pixels from `first`.
struct Tap {
  int64_t first = 0;
  std::vector<float> weights;
};

struct Range {
  int64_t first, last;  // inclusive
};
// The box around `position`, cut at the ends.
Range box(int64_t position, int64_t window, int64_t length) {
  const int64_t half = (window + 2) / 2;
  return {std::max<int64_t>(0, position - (window - half)),
          std::min(length - 1, position + half - 1)};
}

// Filtering and sampling one axis are linear, so only the 64 samples are ever computed.
std::vector<Tap> axis_taps(int64_t length) {
  const int64_t window = (length + 2 * kSide - 1) / (2 * kSide);
  std::vector<Tap> taps(kSide);
  for (int i = 0; i < kSide; ++i) {
    const auto at = static_cast<int64_t>((i + 0.5) * static_cast<double>(length) / kSide);
    const Range outer = box(at, window, length);
    Tap& tap = taps[static_cast<size_t>(i)];
    tap.first = box(outer.first, window, length).first;
    const int64_t last = box(outer.last, window, length).last;
    std::vector<double> weights(static_cast<size_t>(last - tap.first + 1));
    for (int64_t m = outer.first; m <= outer.last; ++m) {
      const Range inner = box(m, window, length);
      const double weight = 1.0 / static_cast<double>(outer.last - outer.first + 1) /
                            static_cast<double>(inner.last - inner.first + 1);
      for (int64_t k = inner.first; k <= inner.last; ++k)
        weights[static_cast<size_t>(k - tap.first)] += weight;
    }
    tap.weights.assign(weights.begin(), weights.end());
  }
  return taps;
}

PARAPET_CLONES void add_weighted(const uint8_t* __restrict row, float weight, int64_t count,
                                 float* __restrict sums) {
  for (int64_t i = 0; i < count; ++i) sums[i] += weight * static_cast<float>(row[i]);
}

// Rows first, on the interleaved bytes; luma and columns then remain for 64 rows only.
Samples filtered_samples(const Image& image) {
  const auto columns = axis_taps(image.width), rows = axis_taps(image.height);
  const int64_t stride = image.width * 3;
  std::vector<float> sums(static_cast<size_t>(stride)), luma(static_cast<size_t>(image.width));
  Samples out{};
  for (int i = 0; i < kSide; ++i) {
    const Tap& row = rows[static_cast<size_t>(i)];
    std::fill(sums.begin(), sums.end(), 0.0f);
    for (size_t k = 0; k < row.weights.size(); ++k)
      add_weighted(image.rgb.data() + (row.first + static_cast<int64_t>(k)) * stride,
                   row.weights[k], stride, sums.data());
    for (size_t x = 0; x < luma.size(); ++x)
      luma[x] = 0.299f * sums[3 * x] + 0.587f * sums[3 * x + 1] + 0.114f * sums[3 * x + 2];
    for (int j = 0; j < kSide; ++j) {
      const Tap& tap = columns[static_cast<size_t>(j)];
      const float* source = luma.data() + tap.first;
      float sum = 0;
      for (size_t t = 0; t < tap.weights.size(); ++t) sum += tap.weights[t] * source[t];
      out[static_cast<size_t>(i * kSide + j)] = sum;
    }
  }
  return out;
}

// Sum of the steps between neighbours, each in whole hundredths of the range.
int quality_of(const Samples& samples) {
  int sum = 0;
  const auto step = [&](float u, float v) {
    sum += std::abs(static_cast<int>((u - v) * 100 / 255));
  };
  for (int i = 0; i < kSide; ++i)
    for (int j = 0; j < kSide; ++j) {
      const float at = samples[static_cast<size_t>(i * kSide + j)];
      if (i + 1 < kSide) step(at, samples[static_cast<size_t>((i + 1) * kSide + j)]);
      if (j + 1 < kSide) step(at, samples[static_cast<size_t>(i * kSide + j + 1)]);
    }
  return std::min(100, sum / 90);
}

const std::array<float, kWaves * kSide>& cosines() {
  static const auto table = [] {
    std::array<float, kWaves * kSide> values{};
    for (int i = 0; i < kWaves; ++i)
      for (int j = 0; j < kSide; ++j)
        values[static_cast<size_t>(i * kSide + j)] =
            static_cast<float>(std::sqrt(2.0 / kSide) *
                               std::cos(std::numbers::pi / 2 / kSide * (i + 1) * (2 * j + 1)));
    return values;
  }();
  return table;
}

PARAPET_CLONES Waves low_frequencies(const Samples& samples) {
  const auto& wave = cosines();
  std::array<float, kWaves * kSide> half{};
  for (int i = 0; i < kWaves; ++i)
    for (int k = 0; k < kSide; ++k) {
      const float weight = wave[static_cast<size_t>(i * kSide + k)];
      for (int j = 0; j < kSide; ++j)
        half[static_cast<size_t>(i * kSide + j)] +=
            weight * samples[static_cast<size_t>(k * kSide + j)];
    }
  Waves out{};
  for (int i = 0; i < kWaves; ++i)
    for (int j = 0; j < kWaves; ++j) {
      float sum = 0;
      for (int k = 0; k < kSide; ++k)
        sum += half[static_cast<size_t>(i * kSide + k)] * wave[static_cast<size_t>(j * kSide + k)];
      out[static_cast<size_t>(i * kWaves + j)] = sum;
    }
  return out;
}

PdqHash threshold(const Waves& waves) {
  Waves sorted = waves;
  const auto middle = sorted.begin() + kWaves * kWaves / 2 - 1;
  std::nth_element(sorted.begin(), middle, sorted.end());
  PdqHash hash;
  for (size_t k = 0; k < waves.size(); ++k)
    if (waves[k] > *middle) hash.words[k / 64] |= uint64_t{1} << (k % 64);
  return hash;
}

// The frequencies of a mirrored or turned picture: wave i + 1 changes its sign under a mirror when
// it is odd, and a transposition exchanges the axes.
Waves transformed(const Waves& waves, bool mirror_rows, bool mirror_columns, bool transpose) {
  Waves out{};
  for (size_t i = 0; i < kWaves; ++i)
    for (size_t j = 0; j < kWaves; ++j) {
      float value = waves[i * kWaves + j];
      if (mirror_rows && i % 2 == 0) value = -value;
      if (mirror_columns && j % 2 == 0) value = -value;
      out[transpose ? j * kWaves + i : i * kWaves + j] = value;
    }
  return out;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool hashable(const Image& image) { return image.width >= kMinSide && image.height >= kMinSide; }

}  // namespace

std::string PdqHash::hex() const {
  std::string out(64, '0');
  for (size_t digit = 0; digit < 64; ++digit) {
    const size_t bit = 4 * (63 - digit);
    out[digit] = "0123456789abcdef"[words[bit / 64] >> (bit % 64) & 15];
  }
  return out;
}

std::optional<PdqHash> PdqHash::from_hex(std::string_view text) {
  if (text.size() != 64) return std::nullopt;
  PdqHash hash;
  for (size_t digit = 0; digit < 64; ++digit) {
    const int value = hex_digit(text[digit]);
    if (value < 0) return std::nullopt;
    const size_t bit = 4 * (63 - digit);
    hash.words[bit / 64] |= static_cast<uint64_t>(value) << (bit % 64);
  }
  return hash;
}

int pdq_distance(const PdqHash& a, const PdqHash& b) {
  int distance = 0;
  for (size_t i = 0; i < 4; ++i) distance += std::popcount(a.words[i] ^ b.words[i]);
  return distance;
}

PdqResult pdq_hash(const Image& image) {
  if (!hashable(image)) return {};
  const Samples samples = filtered_samples(image);
  return {threshold(low_frequencies(samples)), quality_of(samples)};
}

PdqVariants pdq_variants(const Image& image) {
  if (!hashable(image)) return {};
  const Samples samples = filtered_samples(image);
  const Waves waves = low_frequencies(samples);
  PdqVariants variants;
  variants.quality = quality_of(samples);
  for (size_t i = 0; i < 8; ++i)
    variants.hashes[i] = threshold(transformed(waves, (i & 1) != 0, (i & 2) != 0, (i & 4) != 0));
  return variants;
}

}  // namespace parapet
