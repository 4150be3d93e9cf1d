#include "parapet/engine/quantization/calibrate_ranges.h"

#include <ATen/ATen.h>

#include <cmath>

namespace parapet {
namespace {

// Rounded to 256 levels between low and high, as FakeQuantize does.
at::Tensor fake_quantize(const at::Tensor& x, double low, double high) {
  const double step = (high - low) / 255;
  return at::round((x.clamp(low, high) - low) / step).mul_(step).add_(low);
}

at::Tensor quantized_weights(const at::Tensor& weights) {
  const at::Tensor step = weights.abs().amax({1}, true).clamp_min(1e-8) / 127;
  return at::round(weights / step).clamp_(-127, 127).mul_(step);
}

// SmoothQuant (arXiv 2211.10438, equation 4): s_j = max|x_j|^a / max|w_j|^(1-a), scaled to a
// geometric mean of one, which leaves the activation's overall size alone.
at::Tensor smoothing(const at::Tensor& weights, const ChannelExtremes& extremes, double alpha) {
  const at::Tensor x = at::maximum(extremes.high.abs(), extremes.low.abs()).clamp_min(1e-5);
  const at::Tensor w = weights.abs().amax(0).clamp_min(1e-5);
  const at::Tensor s = at::exp(alpha * at::log(x) - (1 - alpha) * at::log(w));
  return (s / at::exp(at::log(s).mean())).clamp(1e-3, 1e3);
}

}  // namespace

void ChannelExtremes::add(const at::Tensor& lows, const at::Tensor& highs) {
  const at::Tensor least = lows.amin(0), most = highs.amax(0);
  low = low.defined() ? at::minimum(low, least) : least;
  high = high.defined() ? at::maximum(high, most) : most;
}

void set_range(QuantizationPoint& point, double low, double high, RangeShape shape) {
  low = std::min(low, 0.0);
  high = std::max(high, 0.0);
  if (shape == RangeShape::kSymmetric) {
    const double top = std::max({high, -low * 127 / 128, 1e-6});
    point.high = static_cast<float>(top);
    point.low = static_cast<float>(-top * 128 / 127);
    return;
  }
  const double step = std::max(high - low, 1e-6) / 255;
  const double zero = std::round(-low / step);
  point.low = static_cast<float>(-zero * step);
  point.high = static_cast<float>((255 - zero) * step);
}

PointChoice choose_point(const at::Tensor& sample, const at::Tensor& weights,
                         const ChannelExtremes& extremes, RangeShape shape,
                         QuantizationPoint& point) {
  const at::Tensor exact = at::mm(sample, weights.t());
  const double power = std::max(exact.square().sum().item<double>(), 1e-30);
  PointChoice best;
  best.error = INFINITY;
  for (const double alpha : {0.0, 0.3, 0.5, 0.7}) {
    const at::Tensor s = alpha > 0 ? smoothing(weights, extremes, alpha) : at::Tensor();
    const at::Tensor w = quantized_weights(s.defined() ? weights * s : weights);
    const at::Tensor x = s.defined() ? sample / s : sample;
    const double low = (s.defined() ? extremes.low / s : extremes.low).min().item<double>();
    const double high = (s.defined() ? extremes.high / s : extremes.high).max().item<double>();
    for (const double clip : {1.0, 0.8, 0.6}) {
      QuantizationPoint trial;
      set_range(trial, low * clip, high * clip, shape);
      const at::Tensor got = at::mm(fake_quantize(x, trial.low, trial.high), w.t());
      const double error = (got - exact).square().sum().item<double>() / power;
      // A small gain on few inputs does not justify cutting values off, nor a multiplication that
      // cannot be folded away (behind an activation function).
      const bool multiplies = alpha > 0 && shape == RangeShape::kFull;
      if (error > best.error * (multiplies ? 0.8 : clip < 1 ? 0.95 : 0.99)) continue;
      best = {.alpha = alpha, .clip = clip, .error = error};
      if (s.defined()) {
        const at::Tensor flat = s.contiguous();
        trial.smooth.assign(flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel());
      }
      point = std::move(trial);
    }
  }
  return best;
}

PointChoice choose_range(const at::Tensor& sample, const ChannelExtremes& extremes,
                         QuantizationPoint& point) {
  const double power = std::max(sample.square().sum().item<double>(), 1e-30);
  const double low = extremes.low.min().item<double>(), high = extremes.high.max().item<double>();
  PointChoice best;
  best.error = INFINITY;
  for (const double clip : {1.0, 0.8, 0.6}) {
    QuantizationPoint trial;
    set_range(trial, low * clip, high * clip, RangeShape::kSymmetric);
    const at::Tensor got = fake_quantize(sample, trial.low, trial.high);
    const double error = (got - sample).square().sum().item<double>() / power;
    if (error > best.error * 0.95) continue;
    best = {.alpha = 0, .clip = clip, .error = error};
    point = std::move(trial);
  }
  return best;
}

}  // namespace parapet
