// Choosing one quantization point; a detail of calibrate.cpp.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>

#include "parapet/engine/quantization/quantization.h"

namespace parapet {

// Of one quantization point: what was chosen and the relative squared error it leaves in the
// outputs of the layers that read it.
struct PointChoice {
  std::string name;
  double alpha = 0;  // SmoothQuant's migration strength; 0 = no smoothing
  double clip = 1;   // share of the calibration range
  double error = 0;
  bool kept_float = false;
};

// Extremes of an activation per channel over all calibration inputs, before smoothing.
struct ChannelExtremes {
  at::Tensor low, high;                                       // [c]
  void add(const at::Tensor& lows, const at::Tensor& highs);  // [n, c]
};

// How a point's range is laid out: signed activations symmetric about zero; what an activation
// function makes is mostly positive and uses its full range.
enum class RangeShape { kSymmetric, kFull };

// Range of a point that has a level at zero exactly.
void set_range(QuantizationPoint& point, double low, double high, RangeShape shape);

// Tries strengths of smoothing and shares of the range on `sample` [rows, c], the input of layers
// with the stacked weights [out, c], and returns the pair that leaves the smallest error.
PointChoice choose_point(const at::Tensor& sample, const at::Tensor& weights,
                         const ChannelExtremes& extremes, RangeShape shape,
                         QuantizationPoint& point);

// The same for an activation that no layer's weights multiply (q and k): the share of the range
// that leaves the smallest error in the activation itself, no smoothing.
PointChoice choose_range(const at::Tensor& sample, const ChannelExtremes& extremes,
                         QuantizationPoint& point);

}  // namespace parapet
