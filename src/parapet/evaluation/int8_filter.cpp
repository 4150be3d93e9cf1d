#include "parapet/evaluation/int8_filter.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <limits>

#include "parapet/evaluation/exact_dot.h"

#if defined(__x86_64__)
#include <immintrin.h>
// g++ 12's own intrinsics start from a value they call undefined; the warning is about that.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace parapet {
namespace {

constexpr int64_t kPanel = Int8Gallery::kPanel;
constexpr int64_t kGroup = Int8Gallery::kGroup;
// Float rounding of the bound's own arithmetic, relative to |q||g|.
constexpr double kSlack = 8e-6;

// A centred row in 8 bits, and what the bound needs of it.
struct QuantisedRow {
  float scale = 0;
  double norm = 0;      // of the centred row
  double residual = 0;  // norm of centred - dequantised
  double dequantised = 0;
  int64_t sum = 0;
};

QuantisedRow quantise(const float* row, const float* mean, int64_t d, int8_t* out) {
  float largest = 0;
  for (int64_t k = 0; k < d; ++k) largest = std::max(largest, std::abs(row[k] - mean[k]));
  QuantisedRow q;
  q.scale = largest / 127.0f;
  const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
  double norm = 0, residual = 0, dequantised = 0;
  for (int64_t k = 0; k < d; ++k) {
    const double x = static_cast<double>(row[k]) - static_cast<double>(mean[k]);
    const float level = std::nearbyint((row[k] - mean[k]) * inverse);
    out[k] = static_cast<int8_t>(std::clamp(level, -127.0f, 127.0f));
    const double y = static_cast<double>(out[k]) * static_cast<double>(q.scale);
    norm += x * x;
    residual += (x - y) * (x - y);
    dequantised += y * y;
    q.sum += out[k];
  }
  q.norm = std::sqrt(norm);
  q.residual = std::sqrt(residual);
  q.dequantised = std::sqrt(dequantised);
  return q;
}

float round_up(double value) {
  return std::nextafter(static_cast<float>(value), std::numeric_limits<float>::infinity());
}

// Everything the kernel reads about one panel and one group of query rows.
struct KernelInput {
  const uint8_t* panel;  // [steps][kPanel][4]
  const int8_t* group;   // [steps][kGroup][4]
  int64_t steps;
  const float *scale, *constant, *norm, *residual;             // [kPanel]
  const float *row_scale, *row_residual, *row_norm, *row_bar;  // [kGroup]
  const int32_t* row_offset;                                   // [kGroup]
};

#if defined(__x86_64__)
// masks[row][16-column part]: which pairs may reach the row's bar.
__attribute__((target("avx512f,avx512bw,avx512vnni"))) void kernel(const KernelInput& in,
                                                                   uint16_t masks[kGroup][4]) {
  __m512i sums[kGroup][4];
#pragma GCC unroll 6
  for (int r = 0; r < kGroup; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) sums[r][c] = _mm512_set1_epi32(in.row_offset[r]);
  const uint8_t* panel = in.panel;
  const int8_t* group = in.group;
  for (int64_t step = 0; step < in.steps; ++step) {
    const __m512i g0 = _mm512_loadu_si512(panel);
    const __m512i g1 = _mm512_loadu_si512(panel + 64);
    const __m512i g2 = _mm512_loadu_si512(panel + 128);
    const __m512i g3 = _mm512_loadu_si512(panel + 192);
#pragma GCC unroll 6
    for (int r = 0; r < kGroup; ++r) {
      int32_t four;
      std::memcpy(&four, group + 4 * r, 4);
      const __m512i q = _mm512_set1_epi32(four);
      sums[r][0] = _mm512_dpbusd_epi32(sums[r][0], g0, q);
      sums[r][1] = _mm512_dpbusd_epi32(sums[r][1], g1, q);
      sums[r][2] = _mm512_dpbusd_epi32(sums[r][2], g2, q);
      sums[r][3] = _mm512_dpbusd_epi32(sums[r][3], g3, q);
    }
    panel += 4 * kPanel;
    group += 4 * kGroup;
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512 scale = _mm512_loadu_ps(in.scale + 16 * c);
    const __m512 constant = _mm512_loadu_ps(in.constant + 16 * c);
    const __m512 norm = _mm512_loadu_ps(in.norm + 16 * c);
    const __m512 residual = _mm512_loadu_ps(in.residual + 16 * c);
#pragma GCC unroll 6
    for (int r = 0; r < kGroup; ++r) {
      const __m512 dot = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][c]), scale);
      __m512 upper = _mm512_fmadd_ps(dot, _mm512_set1_ps(in.row_scale[r]), constant);
      upper = _mm512_fmadd_ps(norm, _mm512_set1_ps(in.row_residual[r]), upper);
      upper = _mm512_fmadd_ps(residual, _mm512_set1_ps(in.row_norm[r]), upper);
      masks[r][c] = _mm512_cmp_ps_mask(upper, _mm512_set1_ps(in.row_bar[r]), _CMP_GE_OQ);
    }
  }
}
#else
void kernel(const KernelInput&, uint16_t[kGroup][4]) {}
#endif

}  // namespace

bool Int8Gallery::supported(int64_t d) {
#if defined(__x86_64__)
  // 255 * 127 * d must stay inside 31 bits, with the offset.
  return d <= 32768 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw");
#else
  (void)d;
  return false;
#endif
}

Int8Gallery::Int8Gallery(const at::Tensor& gallery, const at::Tensor& query_mean)
    : rows_(gallery.size(0)), width_(gallery.size(1)), padded_((width_ + 3) / 4 * 4) {
  const at::Tensor mean = gallery.mean(0).contiguous();
  mean_.assign(mean.const_data_ptr<float>(), mean.const_data_ptr<float>() + width_);
  const at::Tensor other = query_mean.contiguous();
  query_mean_.assign(other.const_data_ptr<float>(), other.const_data_ptr<float>() + width_);
  const int64_t slots = panels() * kPanel;
  packed_.assign(static_cast<size_t>(slots * padded_), 128);
  // Columns beyond the last row can never pass: their constant is -inf.
  constant_.assign(static_cast<size_t>(slots), -std::numeric_limits<float>::infinity());
  scale_.assign(static_cast<size_t>(slots), 0);
  norm_.assign(static_cast<size_t>(slots), 0);
  residual_.assign(static_cast<size_t>(slots), 0);
  const float* data = gallery.const_data_ptr<float>();
  const double shift = exact_dot(query_mean_.data(), mean_.data(), width_);
  at::parallel_for(0, rows_, 256, [&](int64_t begin, int64_t end) {
    std::vector<int8_t> levels(static_cast<size_t>(padded_), 0);
    for (int64_t j = begin; j < end; ++j) {
      const float* row = data + j * width_;
      const QuantisedRow q = quantise(row, mean_.data(), width_, levels.data());
      scale_[j] = q.scale;
      norm_[j] = round_up(q.norm);
      residual_[j] = round_up(q.residual);
      constant_[j] = static_cast<float>(exact_dot(query_mean_.data(), row, width_) - shift);
      uint8_t* panel = packed_.data() + j / kPanel * kPanel * padded_ + j % kPanel * 4;
      for (int64_t k = 0; k < width_; ++k)
        panel[k / 4 * (4 * kPanel) + k % 4] = static_cast<uint8_t>(levels[k] + 128);
    }
  });
  largest_ = *std::max_element(norm_.begin(), norm_.end()) +
             std::sqrt(exact_dot(mean_.data(), mean_.data(), width_));
}

void Int8Queries::load(const float* rows, int64_t count) {
  count_ = count;
  const int64_t d = gallery_.width_, padded = gallery_.padded_;
  const int64_t slots = groups() * kGroup;
  packed_.assign(static_cast<size_t>(slots * padded), 0);
  for (auto* values : {&scale_, &shift_, &residual_, &norm_, &slack_})
    values->assign(static_cast<size_t>(slots), 0);
  offset_.assign(static_cast<size_t>(slots), 0);
  std::vector<int8_t> levels(static_cast<size_t>(padded), 0);
  for (int64_t i = 0; i < count; ++i) {
    const float* row = rows + i * d;
    const QuantisedRow q = quantise(row, gallery_.query_mean_.data(), d, levels.data());
    scale_[i] = q.scale;
    shift_[i] = static_cast<float>(exact_dot(row, gallery_.mean_.data(), d));
    residual_[i] = round_up(q.residual);
    norm_[i] = round_up(q.dequantised);
    const double norm = std::sqrt(exact_dot(row, row, d));
    slack_[i] = round_up(kSlack * (norm + q.norm + q.dequantised) * gallery_.largest_);
    offset_[i] = static_cast<int32_t>(-128 * q.sum);
    int8_t* group = packed_.data() + i / kGroup * kGroup * padded + i % kGroup * 4;
    for (int64_t k = 0; k < d; ++k) group[k / 4 * (4 * kGroup) + k % 4] = levels[k];
  }
}

void Int8Queries::filter(int64_t group, int64_t panel, const float* thresholds,
                         std::vector<Candidate>& out) const {
  const int64_t row = group * kGroup, column = panel * kPanel;
  float bars[kGroup];
  for (int64_t r = 0; r < kGroup; ++r)
    bars[r] = row + r < count_ ? thresholds[row + r] - shift_[row + r] - slack_[row + r]
                               : std::numeric_limits<float>::infinity();
  const KernelInput in{gallery_.packed_.data() + column * gallery_.padded_,
                       packed_.data() + row * gallery_.padded_,
                       gallery_.padded_ / 4,
                       gallery_.scale_.data() + column,
                       gallery_.constant_.data() + column,
                       gallery_.norm_.data() + column,
                       gallery_.residual_.data() + column,
                       scale_.data() + row,
                       residual_.data() + row,
                       norm_.data() + row,
                       bars,
                       offset_.data() + row};
  uint16_t masks[kGroup][4] = {};
  kernel(in, masks);
  for (int64_t r = 0; r < kGroup; ++r)
    for (int64_t c = 0; c < 4; ++c)
      for (uint32_t bits = masks[r][c]; bits != 0; bits &= bits - 1) {
        const int64_t j = column + 16 * c + __builtin_ctz(bits);
        if (j < gallery_.rows_) out.push_back({static_cast<int32_t>(row + r), j});
      }
}

}  // namespace parapet
