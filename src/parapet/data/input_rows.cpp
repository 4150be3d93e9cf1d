#include "parapet/data/input_rows.h"

#include <algorithm>
#include <functional>
#include <string_view>

namespace parapet {

PixelRows::PixelRows(int64_t count, const ImageProcessor& processor)
    : count(count),
      height(processor.height()),
      width(processor.width()),
      values(new float[static_cast<size_t>(count * row_size())]) {}

IdRows::IdRows(const std::vector<const std::vector<int32_t>*>& rows, int64_t pad)
    : count(static_cast<int64_t>(rows.size())), width(1) {
  for (const auto* row : rows) width = std::max(width, static_cast<int64_t>(row->size()));
  values.assign(static_cast<size_t>(count * width), pad);
  for (int64_t i = 0; i < count; ++i)
    std::copy(rows[static_cast<size_t>(i)]->begin(), rows[static_cast<size_t>(i)]->end(), row(i));
}

int64_t content_key(const std::string& text) {
  return static_cast<int64_t>(std::hash<std::string_view>{}(text));
}

int64_t content_key(const Image& image) {
  const std::string_view bytes(reinterpret_cast<const char*>(image.rgb.data()), image.rgb.size());
  return static_cast<int64_t>(std::hash<std::string_view>{}(bytes));
}

void put_pixels(const ImageProcessor& processor, const Image& image, bool mirrored, float* chw) {
  processor.normalise(image, chw);
  const int64_t width = processor.width();
  for (int64_t row = 0; mirrored && row < 3 * processor.height(); ++row)
    std::reverse(chw + row * width, chw + (row + 1) * width);
}

}  // namespace parapet
