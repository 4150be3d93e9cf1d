#include "parapet/evaluation/int8_filter.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <limits>

#include "parapet/core/cpu_features.h"
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
  double norm = 0;         // of the centred row
  double residual = 0;     // norm of centred - dequantised
  double dequantised = 0;  // norm
  int64_t sum = 0;
};

#if defined(__x86_64__)
#define PARAPET_VNNI __attribute__((target("avx512f,avx512bw,avx512vnni")))

PARAPET_VNNI QuantisedRow quantise(const float* row, const float* mean, int64_t d, int8_t* out) {
  const auto lanes = [d](int64_t k) {
    return static_cast<__mmask16>(d - k >= 16 ? 0xffff : (1 << (d - k)) - 1);
  };
  __m512 largest = _mm512_setzero_ps();
  for (int64_t k = 0; k < d; k += 16) {
    const __mmask16 mask = lanes(k);
    const __m512 x =
        _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, row + k), _mm512_maskz_loadu_ps(mask, mean + k));
    largest = _mm512_max_ps(largest, _mm512_abs_ps(x));
  }
  QuantisedRow q;
  const float peak = _mm512_reduce_max_ps(largest);
  q.scale = peak / 127.0f;
  const __m512 scale = _mm512_set1_ps(q.scale);
  const __m512 inverse = _mm512_set1_ps(peak > 0 ? 127.0f / peak : 0.0f);
  const __m512i limit = _mm512_set1_epi32(127);
  __m512 norm = _mm512_setzero_ps(), residual = norm, dequantised = norm;
  __m512i sum = _mm512_setzero_si512();
  for (int64_t k = 0; k < d; k += 16) {
    const __mmask16 mask = lanes(k);
    const __m512 x =
        _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, row + k), _mm512_maskz_loadu_ps(mask, mean + k));
    __m512i level = _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
    level = _mm512_min_epi32(level, limit);
    level = _mm512_max_epi32(level, _mm512_set1_epi32(-127));
    _mm512_mask_cvtepi32_storeu_epi8(out + k, mask, level);
    const __m512 y = _mm512_mul_ps(_mm512_cvtepi32_ps(level), scale);
    const __m512 error = _mm512_sub_ps(x, y);
    norm = _mm512_fmadd_ps(x, x, norm);
    residual = _mm512_fmadd_ps(error, error, residual);
    dequantised = _mm512_fmadd_ps(y, y, dequantised);
    sum = _mm512_add_epi32(sum, level);
  }
  q.norm = std::sqrt(static_cast<double>(_mm512_reduce_add_ps(norm)));
  q.residual = std::sqrt(static_cast<double>(_mm512_reduce_add_ps(residual)));
  q.dequantised = std::sqrt(static_cast<double>(_mm512_reduce_add_ps(dequantised)));
  q.sum = _mm512_reduce_add_epi32(sum);
  return q;
}
#else
QuantisedRow quantise(const float*, const float*, int64_t, int8_t*) { return {}; }
#endif

// With room for the float32 sum it comes from.
float round_up(double value) {
  return std::nextafter(static_cast<float>(value * (1 + 1e-5)),
                        std::numeric_limits<float>::infinity());
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
// sums += g (unsigned bytes) . q (signed bytes), four at a time. Not the intrinsic: with it g++ 12
// spills and copies the sums at every step, five times slower.
PARAPET_VNNI __attribute__((always_inline)) inline void multiply_add(__m512i& sums, __m512i g,
                                                                     __m512i q) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(g), "v"(q));
}

PARAPET_VNNI __attribute__((always_inline)) inline __m512i four_bytes(const int8_t* bytes) {
  int32_t value;
  std::memcpy(&value, bytes, 4);
  return _mm512_set1_epi32(value);
}

// Which of 16 pairs may reach the row's bar.
PARAPET_VNNI __attribute__((always_inline)) inline uint64_t reach(const KernelInput& in, int r,
                                                                  int part, __m512i sums) {
  const int64_t at = 16 * part;
  const __m512 dot = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(in.scale + at));
  __m512 upper =
      _mm512_fmadd_ps(dot, _mm512_set1_ps(in.row_scale[r]), _mm512_loadu_ps(in.constant + at));
  upper = _mm512_fmadd_ps(_mm512_loadu_ps(in.norm + at), _mm512_set1_ps(in.row_residual[r]), upper);
  upper = _mm512_fmadd_ps(_mm512_loadu_ps(in.residual + at), _mm512_set1_ps(in.row_norm[r]), upper);
  return static_cast<uint64_t>(_mm512_cmp_ps_mask(upper, _mm512_set1_ps(in.row_bar[r]), _CMP_GE_OQ))
         << at;
}

// One bit per gallery row of the panel. The 24 sums are named, not an array, to stay in registers.
PARAPET_VNNI void kernel(const KernelInput& in, uint64_t masks[kGroup]) {
  __m512i a0 = _mm512_set1_epi32(in.row_offset[0]), b0 = a0;
  __m512i a1 = _mm512_set1_epi32(in.row_offset[1]), b1 = a1;
  __m512i a2 = _mm512_set1_epi32(in.row_offset[2]), b2 = a2;
  __m512i a3 = _mm512_set1_epi32(in.row_offset[3]), b3 = a3;
  __m512i a4 = _mm512_set1_epi32(in.row_offset[4]), b4 = a4;
  __m512i a5 = _mm512_set1_epi32(in.row_offset[5]), b5 = a5;
  __m512i a6 = _mm512_set1_epi32(in.row_offset[6]), b6 = a6;
  __m512i a7 = _mm512_set1_epi32(in.row_offset[7]), b7 = a7;
  __m512i a8 = _mm512_set1_epi32(in.row_offset[8]), b8 = a8;
  __m512i a9 = _mm512_set1_epi32(in.row_offset[9]), b9 = a9;
  __m512i a10 = _mm512_set1_epi32(in.row_offset[10]), b10 = a10;
  __m512i a11 = _mm512_set1_epi32(in.row_offset[11]), b11 = a11;
  const uint8_t* panel = in.panel;
  const int8_t* group = in.group;
  for (int64_t step = 0; step < in.steps; ++step) {
    const __m512i g0 = _mm512_loadu_si512(panel), g1 = _mm512_loadu_si512(panel + 64);
    __m512i q;
    q = four_bytes(group + 0);
    multiply_add(a0, g0, q), multiply_add(b0, g1, q);
    q = four_bytes(group + 4);
    multiply_add(a1, g0, q), multiply_add(b1, g1, q);
    q = four_bytes(group + 8);
    multiply_add(a2, g0, q), multiply_add(b2, g1, q);
    q = four_bytes(group + 12);
    multiply_add(a3, g0, q), multiply_add(b3, g1, q);
    q = four_bytes(group + 16);
    multiply_add(a4, g0, q), multiply_add(b4, g1, q);
    q = four_bytes(group + 20);
    multiply_add(a5, g0, q), multiply_add(b5, g1, q);
    q = four_bytes(group + 24);
    multiply_add(a6, g0, q), multiply_add(b6, g1, q);
    q = four_bytes(group + 28);
    multiply_add(a7, g0, q), multiply_add(b7, g1, q);
    q = four_bytes(group + 32);
    multiply_add(a8, g0, q), multiply_add(b8, g1, q);
    q = four_bytes(group + 36);
    multiply_add(a9, g0, q), multiply_add(b9, g1, q);
    q = four_bytes(group + 40);
    multiply_add(a10, g0, q), multiply_add(b10, g1, q);
    q = four_bytes(group + 44);
    multiply_add(a11, g0, q), multiply_add(b11, g1, q);
    panel += 4 * kPanel;
    group += 4 * kGroup;
  }
  masks[0] = reach(in, 0, 0, a0) | reach(in, 0, 1, b0);
  masks[1] = reach(in, 1, 0, a1) | reach(in, 1, 1, b1);
  masks[2] = reach(in, 2, 0, a2) | reach(in, 2, 1, b2);
  masks[3] = reach(in, 3, 0, a3) | reach(in, 3, 1, b3);
  masks[4] = reach(in, 4, 0, a4) | reach(in, 4, 1, b4);
  masks[5] = reach(in, 5, 0, a5) | reach(in, 5, 1, b5);
  masks[6] = reach(in, 6, 0, a6) | reach(in, 6, 1, b6);
  masks[7] = reach(in, 7, 0, a7) | reach(in, 7, 1, b7);
  masks[8] = reach(in, 8, 0, a8) | reach(in, 8, 1, b8);
  masks[9] = reach(in, 9, 0, a9) | reach(in, 9, 1, b9);
  masks[10] = reach(in, 10, 0, a10) | reach(in, 10, 1, b10);
  masks[11] = reach(in, 11, 0, a11) | reach(in, 11, 1, b11);
}
#else
void kernel(const KernelInput&, uint64_t[kGroup]) {}
#endif

}  // namespace

bool Int8Gallery::supported(int64_t d) {
  // 255 * 127 * d must stay inside 31 bits, with the offset.
  return d <= 32768 && cpu_features().int8_products();
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
      for (int64_t k = 0; k < padded_; k += 4) {
        uint32_t four;
        std::memcpy(&four, levels.data() + k, 4);
        four ^= 0x80808080u;  // adds 128 to each byte
        std::memcpy(panel + k * kPanel, &four, 4);
      }
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
    for (int64_t k = 0; k < padded; k += 4) std::memcpy(group + k * kGroup, &levels[k], 4);
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
  uint64_t masks[kGroup] = {};
  kernel(in, masks);
  for (int64_t r = 0; r < kGroup; ++r)
    for (uint64_t bits = masks[r]; bits != 0; bits &= bits - 1) {
      const int64_t j = column + __builtin_ctzll(bits);
      if (j < gallery_.rows_) out.push_back({static_cast<int32_t>(row + r), j});
    }
}

}  // namespace parapet
