// Separable antialiased resampling with Pillow's arithmetic (its 8-bit path): coefficients in fixed
// point with 22 bits, rounded to 8 bits between the passes.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "parapet/core/error.h"
#include "parapet/formats/image.h"
#include "parapet/formats/resize_passes.h"

namespace parapet {
namespace {

using resize_detail::kBits;
using resize_detail::Taps;

double bilinear(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

// Which input samples each output sample mixes, and how.
Taps make_taps(int64_t in, int64_t out, Resample filter) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(scale, 1.0);
  const double support = (filter == Resample::kBicubic ? 2.0 : 1.0) * stretch;
  const double inverse = 1.0 / stretch;
  Taps taps;
  taps.per_output = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  taps.first.resize(static_cast<size_t>(out));
  taps.count.resize(static_cast<size_t>(out));
  taps.weights.assign(static_cast<size_t>(out * taps.per_output), 0);
  std::vector<double> k(static_cast<size_t>(taps.per_output));
  for (int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i) + 0.5) * scale;
    const int64_t low = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0);
    const int64_t high = std::min<int64_t>(static_cast<int64_t>(centre + support + 0.5), in);
    double sum = 0.0;
    for (int64_t x = low; x < high; ++x) {
      const double at = (static_cast<double>(x) - centre + 0.5) * inverse;
      k[size_t(x - low)] = filter == Resample::kBicubic ? bicubic(at) : bilinear(at);
      sum += k[size_t(x - low)];
    }
    taps.first[size_t(i)] = static_cast<int32_t>(low);
    taps.count[size_t(i)] = static_cast<int32_t>(high - low);
    for (int64_t x = 0; x < high - low; ++x) {
      const double weight = sum != 0.0 ? k[size_t(x)] / sum : k[size_t(x)];
      taps.weights[size_t(i * taps.per_output + x)] =
          static_cast<int32_t>(std::trunc((weight < 0 ? -0.5 : 0.5) + weight * (1 << kBits)));
    }
  }
  return taps;
}

Image resize_nearest(const Image& image, int64_t width, int64_t height) {
  Image out{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3))};
  // Positions are accumulated rather than multiplied, as in Pillow, to round alike.
  const auto positions = [](int64_t in, int64_t count) {
    const double step = static_cast<double>(in) / static_cast<double>(count);
    std::vector<int64_t> at(static_cast<size_t>(count));
    double position = step * 0.5;
    for (int64_t& value : at) {
      value = std::min(static_cast<int64_t>(position), in - 1);
      position += step;
    }
    return at;
  };
  const std::vector<int64_t> columns = positions(image.width, width);
  const std::vector<int64_t> rows = positions(image.height, height);
  uint8_t* to = out.rgb.data();
  for (const int64_t y : rows) {
    const uint8_t* row = image.rgb.data() + y * image.width * 3;
    for (const int64_t x : columns) {
      std::memcpy(to, row + 3 * x, 3);
      to += 3;
    }
  }
  return out;
}

// Pillow 13 takes the vertical pass first where that shrinks the work; because of the rounding and
// clipping between the passes, the order shows in the result.
bool down_first(const Image& image, int64_t width, int64_t height) {
  return height < image.height && 2 * (image.width - width) < image.height - height;
}

Image across(const Image& image, int64_t width, Resample filter) {
  if (width == image.width) return image;
  Image out{width, image.height, {}};
  out.rgb.resize(static_cast<size_t>(out.width * out.height * 3));
  resize_detail::pass_across(image.rgb.data(), image.width, image.height,
                             make_taps(image.width, width, filter), width, out.rgb.data());
  return out;
}

Image down(const Image& image, int64_t height, Resample filter) {
  if (height == image.height) return image;
  Image out{image.width, height, {}};
  out.rgb.resize(static_cast<size_t>(out.width * out.height * 3));
  resize_detail::pass_down(image.rgb.data(), image.width * 3,
                           make_taps(image.height, height, filter), height, out.rgb.data());
  return out;
}

}  // namespace

Image resize(const Image& image, int64_t width, int64_t height, Resample filter) {
  if (width <= 0 || height <= 0 || width > (int64_t{1} << 30) / height)
    throw UsageError("resize: " + std::to_string(width) + " x " + std::to_string(height) +
                     " is not a size");
  if (image.width <= 0 || image.height <= 0) throw UsageError("resize: the image has no pixels");
  if (width == image.width && height == image.height) return image;
  if (filter == Resample::kNearest) return resize_nearest(image, width, height);
  if (down_first(image, width, height)) return across(down(image, height, filter), width, filter);
  return down(across(image, width, filter), height, filter);
}

Image resize_bicubic(const Image& image, int64_t width, int64_t height) {
  return resize(image, width, height, Resample::kBicubic);
}

Image crop(const Image& image, int64_t left, int64_t top, int64_t width, int64_t height) {
  if (width <= 0 || height <= 0 || width > (int64_t{1} << 30) / height)
    throw UsageError("crop: " + std::to_string(width) + " x " + std::to_string(height) +
                     " is not a size");
  Image out{width, height, std::vector<uint8_t>(static_cast<size_t>(width * height * 3))};
  const int64_t from = std::max<int64_t>(left, 0);
  const int64_t to = std::min(left + width, image.width);
  if (from >= to) return out;
  for (int64_t y = std::max<int64_t>(top, 0); y < std::min(top + height, image.height); ++y)
    std::memcpy(&out.rgb[static_cast<size_t>(((y - top) * width + from - left) * 3)],
                &image.rgb[static_cast<size_t>((y * image.width + from) * 3)],
                static_cast<size_t>((to - from) * 3));
  return out;
}

}  // namespace parapet
