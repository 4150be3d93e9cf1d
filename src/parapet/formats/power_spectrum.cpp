// A frame of n real samples is a transform of n/2 complex ones and a step that takes even and odd
// samples apart (Cooley-Tukey). The complex transform is Stockham's: stages of radix 5, 4, 3 and 2
// that go from one buffer to the other and leave the result in order. Every value is kLanes
// doubles, one of each frame, so that the innermost loops are vector instructions without shuffles.
#include "parapet/formats/power_spectrum.h"

#include <cmath>
#include <numbers>
#include <string>
#include <utility>

#include "parapet/core/error.h"
#include "parapet/core/target_clones.h"

namespace parapet {
namespace {

constexpr int64_t kLanes = PowerSpectrum::kLanes;
constexpr int64_t kPair = 2 * kLanes;  // doubles of one complex value: real parts, imaginary parts

// In each stage, value k of transform p at offset q stands at q + s (p + k m) and goes, times the
// twiddle of p and t, to q + s (r p + t).
struct Walk {
  int64_t groups;
  int64_t stride;
  const double* twiddles;
};

PARAPET_VECTOR_CLONES("avx2", "default")
void radix2(const Walk& walk, const double* __restrict x, double* __restrict y) {
  const int64_t apart = walk.stride * walk.groups * kPair;
  for (int64_t p = 0; p < walk.groups; ++p) {
    const double wr = walk.twiddles[2 * p];
    const double wi = walk.twiddles[2 * p + 1];
    for (int64_t q = 0; q < walk.stride; ++q) {
      const double* a = x + (q + walk.stride * p) * kPair;
      double* b = y + (q + walk.stride * 2 * p) * kPair;
      for (int64_t l = 0; l < kLanes; ++l) {
        const double dr = a[l] - a[apart + l];
        const double di = a[kLanes + l] - a[apart + kLanes + l];
        b[l] = a[l] + a[apart + l];
        b[kLanes + l] = a[kLanes + l] + a[apart + kLanes + l];
        b[walk.stride * kPair + l] = dr * wr - di * wi;
        b[walk.stride * kPair + kLanes + l] = dr * wi + di * wr;
      }
    }
  }
}

PARAPET_VECTOR_CLONES("avx2", "default")
void radix3(const Walk& walk, const double* __restrict x, double* __restrict y) {
  constexpr double kSin = 0.86602540378443864676;  // of 2 pi / 3
  const int64_t apart = walk.stride * walk.groups * kPair;
  const int64_t step = walk.stride * kPair;
  for (int64_t p = 0; p < walk.groups; ++p) {
    const double* w = walk.twiddles + 4 * p;
    for (int64_t q = 0; q < walk.stride; ++q) {
      const double* a = x + (q + walk.stride * p) * kPair;
      double* b = y + (q + walk.stride * 3 * p) * kPair;
      for (int64_t l = 0; l < kLanes; ++l) {
        const double sr = a[apart + l] + a[2 * apart + l];
        const double si = a[apart + kLanes + l] + a[2 * apart + kLanes + l];
        const double dr = kSin * (a[apart + l] - a[2 * apart + l]);
        const double di = kSin * (a[apart + kLanes + l] - a[2 * apart + kLanes + l]);
        const double mr = a[l] - 0.5 * sr;
        const double mi = a[kLanes + l] - 0.5 * si;
        b[l] = a[l] + sr;
        b[kLanes + l] = a[kLanes + l] + si;
        const double r1 = mr + di, i1 = mi - dr, r2 = mr - di, i2 = mi + dr;
        b[step + l] = r1 * w[0] - i1 * w[1];
        b[step + kLanes + l] = r1 * w[1] + i1 * w[0];
        b[2 * step + l] = r2 * w[2] - i2 * w[3];
        b[2 * step + kLanes + l] = r2 * w[3] + i2 * w[2];
      }
    }
  }
}

PARAPET_VECTOR_CLONES("avx2", "default")
void radix4(const Walk& walk, const double* __restrict x, double* __restrict y) {
  const int64_t apart = walk.stride * walk.groups * kPair;
  const int64_t step = walk.stride * kPair;
  for (int64_t p = 0; p < walk.groups; ++p) {
    const double* w = walk.twiddles + 6 * p;
    for (int64_t q = 0; q < walk.stride; ++q) {
      const double* a = x + (q + walk.stride * p) * kPair;
      double* b = y + (q + walk.stride * 4 * p) * kPair;
      for (int64_t l = 0; l < kLanes; ++l) {
        const double sr = a[l] + a[2 * apart + l];
        const double si = a[kLanes + l] + a[2 * apart + kLanes + l];
        const double dr = a[l] - a[2 * apart + l];
        const double di = a[kLanes + l] - a[2 * apart + kLanes + l];
        const double tr = a[apart + l] + a[3 * apart + l];
        const double ti = a[apart + kLanes + l] + a[3 * apart + kLanes + l];
        // -i times the difference of the other two.
        const double ur = a[apart + kLanes + l] - a[3 * apart + kLanes + l];
        const double ui = a[3 * apart + l] - a[apart + l];
        b[l] = sr + tr;
        b[kLanes + l] = si + ti;
        const double r1 = dr + ur, i1 = di + ui, r2 = sr - tr, i2 = si - ti;
        const double r3 = dr - ur, i3 = di - ui;
        b[step + l] = r1 * w[0] - i1 * w[1];
        b[step + kLanes + l] = r1 * w[1] + i1 * w[0];
        b[2 * step + l] = r2 * w[2] - i2 * w[3];
        b[2 * step + kLanes + l] = r2 * w[3] + i2 * w[2];
        b[3 * step + l] = r3 * w[4] - i3 * w[5];
        b[3 * step + kLanes + l] = r3 * w[5] + i3 * w[4];
      }
    }
  }
}

PARAPET_VECTOR_CLONES("avx2", "default")
void radix5(const Walk& walk, const double* __restrict x, double* __restrict y) {
  constexpr double kCos1 = 0.30901699437494742410;   // of 2 pi / 5
  constexpr double kCos2 = -0.80901699437494742410;  // of 4 pi / 5
  constexpr double kSin1 = 0.95105651629515357212;
  constexpr double kSin2 = 0.58778525229247312917;
  const int64_t apart = walk.stride * walk.groups * kPair;
  const int64_t step = walk.stride * kPair;
  for (int64_t p = 0; p < walk.groups; ++p) {
    const double* w = walk.twiddles + 8 * p;
    for (int64_t q = 0; q < walk.stride; ++q) {
      const double* a = x + (q + walk.stride * p) * kPair;
      double* b = y + (q + walk.stride * 5 * p) * kPair;
      for (int64_t l = 0; l < kLanes; ++l) {
        const double* ai = a + kLanes;
        const double s1r = a[apart + l] + a[4 * apart + l];
        const double s1i = ai[apart + l] + ai[4 * apart + l];
        const double d1r = a[apart + l] - a[4 * apart + l];
        const double d1i = ai[apart + l] - ai[4 * apart + l];
        const double s2r = a[2 * apart + l] + a[3 * apart + l];
        const double s2i = ai[2 * apart + l] + ai[3 * apart + l];
        const double d2r = a[2 * apart + l] - a[3 * apart + l];
        const double d2i = ai[2 * apart + l] - ai[3 * apart + l];
        const double m1r = a[l] + kCos1 * s1r + kCos2 * s2r;
        const double m1i = ai[l] + kCos1 * s1i + kCos2 * s2i;
        const double m2r = a[l] + kCos2 * s1r + kCos1 * s2r;
        const double m2i = ai[l] + kCos2 * s1i + kCos1 * s2i;
        // -i times the sums of sines.
        const double n1r = kSin1 * d1i + kSin2 * d2i;
        const double n1i = -kSin1 * d1r - kSin2 * d2r;
        const double n2r = kSin2 * d1i - kSin1 * d2i;
        const double n2i = kSin1 * d2r - kSin2 * d1r;
        b[l] = a[l] + s1r + s2r;
        b[kLanes + l] = ai[l] + s1i + s2i;
        const double r1 = m1r + n1r, i1 = m1i + n1i, r4 = m1r - n1r, i4 = m1i - n1i;
        const double r2 = m2r + n2r, i2 = m2i + n2i, r3 = m2r - n2r, i3 = m2i - n2i;
        b[step + l] = r1 * w[0] - i1 * w[1];
        b[step + kLanes + l] = r1 * w[1] + i1 * w[0];
        b[2 * step + l] = r2 * w[2] - i2 * w[3];
        b[2 * step + kLanes + l] = r2 * w[3] + i2 * w[2];
        b[3 * step + l] = r3 * w[4] - i3 * w[5];
        b[3 * step + kLanes + l] = r3 * w[5] + i3 * w[4];
        b[4 * step + l] = r4 * w[6] - i4 * w[7];
        b[4 * step + kLanes + l] = r4 * w[7] + i4 * w[6];
      }
    }
  }
}

// From Z, the transform of z[j] = x[2j] + i x[2j + 1], to |X|^2:
// X[k] = (Z[k] + conj Z[m - k]) / 2 - i w^k (Z[k] - conj Z[m - k]) / 2, with Z[m] = Z[0].
PARAPET_VECTOR_CLONES("avx2", "default")
void unpack(int64_t half, const double* __restrict z, const double* __restrict roots,
            double* __restrict power) {
  for (int64_t k = 0; k <= half; ++k) {
    const double wr = roots[2 * k];
    const double wi = roots[2 * k + 1];
    const double* a = z + (k == half ? 0 : k) * kPair;
    const double* b = z + (k == 0 ? 0 : half - k) * kPair;
    for (int64_t l = 0; l < kLanes; ++l) {
      const double er = a[l] + b[l];
      const double ei = a[kLanes + l] - b[kLanes + l];
      const double dr = a[l] - b[l];
      const double di = a[kLanes + l] + b[kLanes + l];
      const double xr = 0.5 * (er + wr * di + wi * dr);
      const double xi = 0.5 * (ei + wi * di - wr * dr);
      power[k * kLanes + l] = xr * xr + xi * xi;
    }
  }
}

}  // namespace

bool PowerSpectrum::can_be(int64_t size) {
  if (size < 4 || size % 2 != 0 || size > (int64_t{1} << 20)) return false;
  for (const int64_t factor : {2, 3, 5})
    while (size % factor == 0) size /= factor;
  return size == 1;
}

PowerSpectrum::PowerSpectrum(int64_t size) : size_(size) {
  if (!can_be(size))
    throw UsageError("a frame of " + std::to_string(size) +
                     " samples: it must be even, 4..1048576, without prime factors above 5");
  constexpr double kTurn = -2 * std::numbers::pi;
  const auto root = [](double share, std::vector<double>& out) {
    out.push_back(std::cos(kTurn * share));
    out.push_back(std::sin(kTurn * share));
  };
  int64_t rest = size / 2;
  int64_t stride = 1;
  while (rest > 1) {
    Stage stage;
    stage.radix = rest % 5 == 0 ? 5 : rest % 4 == 0 ? 4 : rest % 3 == 0 ? 3 : 2;
    stage.groups = rest / stage.radix;
    stage.stride = stride;
    for (int64_t p = 0; p < stage.groups; ++p)
      for (int64_t t = 1; t < stage.radix; ++t)
        root(static_cast<double>(p * t) / static_cast<double>(rest), stage.twiddles);
    rest = stage.groups;
    stride *= stage.radix;
    stages_.push_back(std::move(stage));
  }
  for (int64_t k = 0; k <= size / 2; ++k)
    root(static_cast<double>(k) / static_cast<double>(size), unpack_);
}

void PowerSpectrum::compute(const double* frames, double* power, double* workspace) const {
  // Even and odd samples stand where real and imaginary parts are expected.
  const double* from = frames;
  double* to = workspace;
  double* other = workspace + size_ * kLanes;
  for (const Stage& stage : stages_) {
    const Walk walk{stage.groups, stage.stride, stage.twiddles.data()};
    if (stage.radix == 5)
      radix5(walk, from, to);
    else if (stage.radix == 4)
      radix4(walk, from, to);
    else if (stage.radix == 3)
      radix3(walk, from, to);
    else
      radix2(walk, from, to);
    from = to;
    std::swap(to, other);
  }
  unpack(size_ / 2, from, unpack_.data(), power);
}

}  // namespace parapet
