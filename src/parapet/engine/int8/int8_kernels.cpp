#include "parapet/engine/int8/int8_kernels.h"

#include <ATen/ATen.h>

#include <cmath>

#include "parapet/core/cpu_features.h"
#include "parapet/core/error.h"

#if defined(__x86_64__)
#include "parapet/engine/int8/vnni_tiles.h"
#endif

namespace parapet::int8 {

bool supported() { return cpu_features().int8_products(); }
bool has_matrix_unit() { return cpu_features().amx_int8; }

Linear pack(const at::Tensor& weight, const at::Tensor& bias, float low, float step) {
  const at::Tensor w = weight.to(at::kFloat).contiguous();
  const at::Tensor per_level = w.abs().amax({1}).clamp_min(1e-8).div_(127);
  const at::Tensor levels = at::round(w / per_level.unsqueeze(1)).clamp_(-127, 127);
  Linear linear{w.size(1), w.size(0), {}, {}, {}};
  linear.levels = levels.to(at::kChar)
                      .view({linear.outputs / kPanel, kPanel, linear.inputs / 4, 4})
                      .permute({0, 2, 1, 3})
                      .contiguous();
  linear.scale = per_level * step;
  linear.shift = per_level * levels.sum(1) * low;
  if (bias.defined()) linear.shift += bias.to(at::kFloat);
  return linear;
}

void scale_output(Linear& linear, float low, float step, float offset) {
  linear.scale = linear.scale / step;
  linear.shift = (linear.shift - low) / step + offset;
}

#if defined(__x86_64__)

namespace {

// x / (1 + e^(-rate t)), to 1e-4: it becomes one of 256 levels.
PARAPET_VNNI_INLINE __m512 gated(__m512 x, __m512 t, float rate) {
  const __m512 e = exp2_of(_mm512_mul_ps(t, _mm512_set1_ps(-rate * kLog2E)));
  return _mm512_mul_ps(x, _mm512_rcp14_ps(_mm512_add_ps(e, _mm512_set1_ps(1))));
}

// Abramowitz and Stegun 7.1.26, off by at most 1.5e-7.
PARAPET_VNNI_INLINE __m512 erf_of(__m512 x) {
  const __m512 size = _mm512_abs_ps(x), one = _mm512_set1_ps(1);
  const __m512 t = inverse(_mm512_fmadd_ps(size, _mm512_set1_ps(0.3275911F), one));
  __m512 p = _mm512_set1_ps(1.061405429F);
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736F));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592F));
  const __m512 tail = exp2_of(_mm512_mul_ps(_mm512_mul_ps(size, size), _mm512_set1_ps(-kLog2E)));
  const __m512 value = _mm512_fnmadd_ps(_mm512_mul_ps(p, t), tail, one);
  return _mm512_or_ps(value, _mm512_and_ps(x, _mm512_set1_ps(-0.0F)));
}

template <nn::Activation kActivation>
PARAPET_VNNI_INLINE __m512 activated(__m512 x) {
  using A = nn::Activation;
  if constexpr (kActivation == A::kQuickGelu) return gated(x, x, 1.702F);
  if constexpr (kActivation == A::kSilu) return gated(x, x, 1);
  if constexpr (kActivation == A::kRelu) return _mm512_max_ps(x, _mm512_setzero_ps());
  if constexpr (kActivation == A::kGelu) {
    const __m512 half = _mm512_mul_ps(x, _mm512_set1_ps(0.5F));
    return _mm512_fmadd_ps(half, erf_of(_mm512_mul_ps(x, _mm512_set1_ps(0.70710678F))), half);
  }
  // 0.5 x (1 + tanh u) = x / (1 + e^-2u)
  const __m512 cube = _mm512_mul_ps(x, _mm512_mul_ps(x, x));
  const __m512 u = _mm512_fmadd_ps(cube, _mm512_set1_ps(0.044715F), x);
  return gated(x, u, 1.5957691216F);
}

// put(row, column, y) for the panels' outputs y of every row.
template <class Put>
PARAPET_VNNI_INLINE void for_outputs(const Linear& linear, const uint8_t* in, int64_t rows,
                                     Range panels, const Put& put) {
  const int64_t steps = linear.inputs / 4;
  const auto* levels = linear.levels.const_data_ptr<int8_t>();
  const auto* scale = linear.scale.const_data_ptr<float>();
  const auto* shift = linear.shift.const_data_ptr<float>();
  for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
    const int64_t column = panel * kPanel;
    const int8_t* weights = levels + column * linear.inputs;
    for_tiles(rows, [&](auto count, int64_t row, int64_t number) PARAPET_VNNI {
      // Four tiles fetch the next panel while they work on this one.
      const int8_t* ahead = weights + kPanel * linear.inputs + number % 4 * steps * 64;
      tile(count, in + row * linear.inputs, linear.inputs, weights, steps, ahead,
           [&](int64_t i, int64_t j, __m512i sums) PARAPET_VNNI {
             put(row + i, column + j,
                 _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), _mm512_loadu_ps(scale + column + j),
                                 _mm512_loadu_ps(shift + column + j)));
           });
    });
  }
}

template <nn::Activation kActivation>
PARAPET_VNNI void activated_bytes(const Linear& linear, const uint8_t* in, int64_t rows,
                                  const float* gain, float offset, uint8_t* out, Range panels) {
  for_outputs(linear, in, rows, panels, [&](int64_t row, int64_t column, __m512 y) PARAPET_VNNI {
    store_bytes(out + row * linear.outputs + column,
                _mm512_fmadd_ps(activated<kActivation>(y), _mm512_loadu_ps(gain + column),
                                _mm512_set1_ps(offset)));
  });
}

}  // namespace

PARAPET_VNNI void product(const Linear& linear, const uint8_t* in, int64_t rows, float* out,
                          Range panels) {
  for_outputs(linear, in, rows, panels, [&](int64_t row, int64_t column, __m512 y) PARAPET_VNNI {
    _mm512_storeu_ps(out + row * linear.outputs + column, y);
  });
}

PARAPET_VNNI void product_add(const Linear& linear, const uint8_t* in, int64_t rows, float* out,
                              Range panels) {
  for_outputs(linear, in, rows, panels, [&](int64_t row, int64_t column, __m512 y) PARAPET_VNNI {
    float* place = out + row * linear.outputs + column;
    _mm512_storeu_ps(place, _mm512_add_ps(_mm512_loadu_ps(place), y));
  });
}

PARAPET_VNNI void product_bytes(const Linear& linear, const uint8_t* in, int64_t rows, uint8_t* out,
                                Range panels) {
  for_outputs(linear, in, rows, panels, [&](int64_t row, int64_t column, __m512 y) PARAPET_VNNI {
    store_bytes(out + row * linear.outputs + column, y);
  });
}

PARAPET_VNNI void product_signed(const Linear& linear, const uint8_t* in, int64_t rows, int8_t* out,
                                 Range panels) {
  for_outputs(linear, in, rows, panels, [&](int64_t row, int64_t column, __m512 y) PARAPET_VNNI {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + row * linear.outputs + column),
                     _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(y)));
  });
}

void product_activated(const Linear& linear, const uint8_t* in, int64_t rows,
                       nn::Activation activation, const float* gain, float offset, uint8_t* out,
                       Range panels) {
  using A = nn::Activation;
  switch (activation) {
    case A::kQuickGelu:
      return activated_bytes<A::kQuickGelu>(linear, in, rows, gain, offset, out, panels);
    case A::kGelu:
      return activated_bytes<A::kGelu>(linear, in, rows, gain, offset, out, panels);
    case A::kGeluTanh:
      return activated_bytes<A::kGeluTanh>(linear, in, rows, gain, offset, out, panels);
    case A::kSilu:
      return activated_bytes<A::kSilu>(linear, in, rows, gain, offset, out, panels);
    case A::kRelu:
      return activated_bytes<A::kRelu>(linear, in, rows, gain, offset, out, panels);
  }
}

namespace {

// put(column, y) over one normalised row.
template <class Put>
PARAPET_VNNI_INLINE void normalise_row(const Norm& norm, const float* in, int64_t width,
                                       const Put& put) {
  __m512 sum = _mm512_setzero_ps(), squares = sum;
  for (int64_t c = 0; c < width; c += 16) sum = _mm512_add_ps(sum, _mm512_loadu_ps(in + c));
  const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / static_cast<float>(width));
  for (int64_t c = 0; c < width; c += 16) {
    const __m512 x = _mm512_sub_ps(_mm512_loadu_ps(in + c), mean);
    squares = _mm512_fmadd_ps(x, x, squares);
  }
  const float variance = _mm512_reduce_add_ps(squares) / static_cast<float>(width);
  const __m512 scale = _mm512_set1_ps(1.0F / std::sqrt(variance + norm.eps));
  const auto* gain = norm.gain.const_data_ptr<float>();
  const auto* shift = norm.shift.const_data_ptr<float>();
  for (int64_t c = 0; c < width; c += 16) {
    const __m512 x = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(in + c), mean), scale);
    put(c, _mm512_fmadd_ps(x, _mm512_loadu_ps(gain + c), _mm512_loadu_ps(shift + c)));
  }
}

}  // namespace

PARAPET_VNNI void normalise(const Norm& norm, const float* in, int64_t width, float* out,
                            Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    normalise_row(norm, in + row * width, width, [&](int64_t c, __m512 y) PARAPET_VNNI {
      _mm512_storeu_ps(out + row * width + c, y);
    });
}

PARAPET_VNNI void normalise_bytes(const Norm& norm, const float* in, int64_t width, uint8_t* out,
                                  Range rows) {
  for (int64_t row = rows.begin; row < rows.end; ++row)
    normalise_row(norm, in + row * width, width,
                  [&](int64_t c, __m512 y) PARAPET_VNNI { store_bytes(out + row * width + c, y); });
}

PARAPET_VNNI void project(const float* matrix, const float* in, int64_t rows, int64_t inputs,
                          int64_t outputs, float* out, Range panels) {
  for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
    const int64_t column = panel * kPanel;
    for_tiles(rows, [&](auto count, int64_t row, int64_t) PARAPET_VNNI {
      tile(count, in + row * inputs, inputs, matrix + column, outputs, inputs,
           [&](int64_t i, int64_t j, __m512 sums)
               PARAPET_VNNI { _mm512_storeu_ps(out + (row + i) * outputs + column + j, sums); });
    });
  }
}

#else

namespace {
[[noreturn]] void unsupported() {
  throw Error(ErrorKind::kInternal, "int8 kernels were called on a processor without them");
}
}  // namespace

void product(const Linear&, const uint8_t*, int64_t, float*, Range) { unsupported(); }
void product_add(const Linear&, const uint8_t*, int64_t, float*, Range) { unsupported(); }
void product_bytes(const Linear&, const uint8_t*, int64_t, uint8_t*, Range) { unsupported(); }
void product_signed(const Linear&, const uint8_t*, int64_t, int8_t*, Range) { unsupported(); }
void product_activated(const Linear&, const uint8_t*, int64_t, nn::Activation, const float*, float,
                       uint8_t*, Range) {
  unsupported();
}
void normalise(const Norm&, const float*, int64_t, float*, Range) { unsupported(); }
void normalise_bytes(const Norm&, const float*, int64_t, uint8_t*, Range) { unsupported(); }
int64_t attention_work(int64_t, int64_t) { return 0; }
void attend(const Head&, const AttentionScales&, uint8_t*) { unsupported(); }
void project(const float*, const float*, int64_t, int64_t, int64_t, float*, Range) {
  unsupported();
}

#endif

}  // namespace parapet::int8
