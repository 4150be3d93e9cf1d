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
using resize_detail::Plane;
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

struct Range {
  int64_t first = 0;
  int64_t count = 0;
};

// One axis of a resize: which input samples the wanted outputs read, and how they mix them.
struct Axis {
  Range input;
  bool resampled = false;
  Taps taps;  // positions relative to input.first
};

double weight_at(Resample filter, double x) {
  return filter == Resample::kBicubic ? bicubic(x) : bilinear(x);
}

Axis plan(int64_t in, int64_t out, Resample filter, Range wanted) {
  if (in == out) return {wanted, false, {}};
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double stretch = std::max(scale, 1.0);
  const double support = (filter == Resample::kBicubic ? 2.0 : 1.0) * stretch;
  const double inverse = 1.0 / stretch;
  Axis axis{{}, true, {}};
  Taps& taps = axis.taps;
  taps.per_output = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  taps.weights.assign(static_cast<size_t>(wanted.count * taps.per_output), 0);
  std::vector<double> k(static_cast<size_t>(taps.per_output));
  for (int64_t i = 0; i < wanted.count; ++i) {
    const double centre = (static_cast<double>(wanted.first + i) + 0.5) * scale;
    const int64_t low = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0);
    const int64_t high = std::min<int64_t>(static_cast<int64_t>(centre + support + 0.5), in);
    double sum = 0.0;
    for (int64_t x = low; x < high; ++x)
      sum += k[size_t(x - low)] =
          weight_at(filter, (static_cast<double>(x) - centre + 0.5) * inverse);
    if (i == 0) axis.input.first = low;
    axis.input.count = high - axis.input.first;
    taps.first.push_back(low - axis.input.first);
    taps.count.push_back(high - low);
    for (int64_t x = 0; x < high - low; ++x) {
      const double weight = sum != 0.0 ? k[size_t(x)] / sum : k[size_t(x)];
      taps.weights[size_t(i * taps.per_output + x)] =
          static_cast<int32_t>(std::trunc((weight < 0 ? -0.5 : 0.5) + weight * (1 << kBits)));
    }
  }
  return axis;
}

// Positions are accumulated rather than multiplied, as in Pillow, to round alike.
std::vector<int64_t> nearest_positions(int64_t in, int64_t out, Range wanted) {
  const double step = static_cast<double>(in) / static_cast<double>(out);
  std::vector<int64_t> at;
  double position = step * 0.5;
  for (int64_t i = 0; i < wanted.first + wanted.count; ++i, position += step)
    if (i >= wanted.first) at.push_back(std::min(static_cast<int64_t>(position), in - 1));
  return at;
}

Image pick_nearest(const Image& image, const std::vector<int64_t>& columns,
                   const std::vector<int64_t>& rows) {
  Image out{static_cast<int64_t>(columns.size()), static_cast<int64_t>(rows.size()), {}};
  out.rgb.resize(static_cast<size_t>(out.width * out.height * 3));
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

Plane plane_of(const Image& image) {
  return {image.rgb.data(), image.width * 3, image.width, image.height};
}

// The given outputs of resize(image, width, height, filter).
Image resize_region(const Image& image, int64_t width, int64_t height, Resample filter,
                    Range columns, Range rows) {
  if (filter == Resample::kNearest)
    return pick_nearest(image, nearest_positions(image.width, width, columns),
                        nearest_positions(image.height, height, rows));
  const Axis x = plan(image.width, width, filter, columns);
  const Axis y = plan(image.height, height, filter, rows);
  if (!x.resampled && !y.resampled)
    return crop(image, columns.first, rows.first, columns.count, rows.count);
  Plane plane = plane_of(image);
  plane.data += y.input.first * plane.stride + x.input.first * 3;
  plane.width = x.input.count;
  plane.height = y.input.count;
  Image first;
  if (down_first(image, width, height)) {
    if (y.resampled) plane = plane_of(first = resize_detail::pass_down(plane, y.taps));
    return x.resampled ? resize_detail::pass_across(plane, x.taps) : first;
  }
  if (x.resampled) plane = plane_of(first = resize_detail::pass_across(plane, x.taps));
  return y.resampled ? resize_detail::pass_down(plane, y.taps) : first;
}

void check_sizes(const Image& image, int64_t width, int64_t height, int64_t crop_width,
                 int64_t crop_height) {
  constexpr int64_t kMaxSide = int64_t{1} << 30;
  if (image.width <= 0 || image.height <= 0) throw UsageError("resize: the image has no pixels");
  if (width <= 0 || height <= 0 || width > kMaxSide || height > kMaxSide || crop_width <= 0 ||
      crop_height <= 0 || crop_width > kMaxSide / crop_height)
    throw UsageError("resize: an image of " + std::to_string(image.width) + " x " +
                     std::to_string(image.height) + " cannot become " + std::to_string(width) +
                     " x " + std::to_string(height) + ", cropped to " + std::to_string(crop_width) +
                     " x " + std::to_string(crop_height));
}

}  // namespace

Image resize(const Image& image, int64_t width, int64_t height, Resample filter) {
  check_sizes(image, width, height, width, height);
  if (width == image.width && height == image.height) return image;
  return resize_region(image, width, height, filter, {0, width}, {0, height});
}

Image resize_crop(const Image& image, int64_t width, int64_t height, Resample filter, int64_t left,
                  int64_t top, int64_t crop_width, int64_t crop_height) {
  check_sizes(image, width, height, crop_width, crop_height);
  const int64_t x = std::max<int64_t>(left, 0);
  const int64_t y = std::max<int64_t>(top, 0);
  const Range columns{x, std::min(left + crop_width, width) - x};
  const Range rows{y, std::min(top + crop_height, height) - y};
  if (columns.count <= 0 || rows.count <= 0) return crop(Image{}, 0, 0, crop_width, crop_height);
  Image inner = resize_region(image, width, height, filter, columns, rows);
  if (inner.width == crop_width && inner.height == crop_height) return inner;
  return crop(inner, left - x, top - y, crop_width, crop_height);
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
