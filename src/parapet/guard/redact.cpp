#include "parapet/guard/redact.h"

#include <algorithm>

#include "parapet/core/utf8.h"
#include "parapet/text/unicode.h"

namespace parapet::guard {
namespace {

// One pass of a box blur along `count` pixels that lie `stride` bytes apart.
void blur_line(uint8_t* line, int64_t count, int64_t stride, int64_t radius,
               std::vector<uint8_t>& scratch) {
  scratch.resize(static_cast<size_t>(count));
  for (int64_t c = 0; c < 3; ++c) {
    int64_t sum = 0, width = 0;
    const auto at = [&](int64_t i) -> uint8_t& { return line[i * stride + c]; };
    for (int64_t i = 0; i < std::min(radius, count); ++i) {
      sum += at(i);
      ++width;
    }
    for (int64_t i = 0; i < count; ++i) {
      if (i + radius < count) {
        sum += at(i + radius);
        ++width;
      }
      if (i - radius - 1 >= 0) {
        sum -= at(i - radius - 1);
        --width;
      }
      scratch[static_cast<size_t>(i)] = static_cast<uint8_t>((sum + width / 2) / width);
    }
    for (int64_t i = 0; i < count; ++i) at(i) = scratch[static_cast<size_t>(i)];
  }
}

Box clipped(const Box& box, const Image& image) {
  Box out;
  out.left = std::clamp<int64_t>(box.left, 0, image.width);
  out.top = std::clamp<int64_t>(box.top, 0, image.height);
  out.width = std::clamp<int64_t>(box.left + box.width, 0, image.width) - out.left;
  out.height = std::clamp<int64_t>(box.top + box.height, 0, image.height) - out.top;
  return out;
}

}  // namespace

Box grow_box(const Box& box, double share, const Image& image) {
  const auto by =
      static_cast<int64_t>(share * static_cast<double>(std::min(box.width, box.height)) + 0.5);
  return clipped({box.left - by, box.top - by, box.width + 2 * by, box.height + 2 * by}, image);
}

void blur_box(Image& image, const Box& box, int64_t radius) {
  const Box area = clipped(box, image);
  radius = std::max<int64_t>(1, radius);
  std::vector<uint8_t> scratch;
  uint8_t* first = image.rgb.data() + (area.top * image.width + area.left) * 3;
  for (int pass = 0; pass < 3; ++pass) {
    for (int64_t y = 0; y < area.height; ++y)
      blur_line(first + y * image.width * 3, area.width, 3, radius, scratch);
    for (int64_t x = 0; x < area.width; ++x)
      blur_line(first + x * 3, area.height, image.width * 3, radius, scratch);
  }
}

void pixelate_box(Image& image, const Box& box, int64_t size) {
  const Box area = clipped(box, image);
  size = std::max<int64_t>(2, size);
  for (int64_t y0 = area.top; y0 < area.top + area.height; y0 += size)
    for (int64_t x0 = area.left; x0 < area.left + area.width; x0 += size) {
      const int64_t y1 = std::min(y0 + size, area.top + area.height);
      const int64_t x1 = std::min(x0 + size, area.left + area.width);
      const int64_t pixels = (y1 - y0) * (x1 - x0);
      for (int64_t c = 0; c < 3; ++c) {
        int64_t sum = 0;
        const auto at = [&](int64_t y, int64_t x) -> uint8_t& {
          return image.rgb[static_cast<size_t>((y * image.width + x) * 3 + c)];
        };
        for (int64_t y = y0; y < y1; ++y)
          for (int64_t x = x0; x < x1; ++x) sum += at(y, x);
        for (int64_t y = y0; y < y1; ++y)
          for (int64_t x = x0; x < x1; ++x)
            at(y, x) = static_cast<uint8_t>((sum + pixels / 2) / pixels);
      }
    }
}

std::string mask_spans(std::string_view text, std::vector<std::pair<size_t, size_t>> spans,
                       std::string_view mask) {
  std::sort(spans.begin(), spans.end());
  std::string out;
  size_t next = 0, covered_to = 0;
  for (size_t pos = 0; pos < text.size();) {
    const size_t begin = pos;
    const char32_t c = next_code_point(text, pos);
    for (; next < spans.size() && spans[next].first < pos; ++next)
      covered_to = std::max(covered_to, spans[next].second);
    const bool covered = covered_to > begin;
    if (!covered || text::is_white_space(c))
      out += text.substr(begin, pos - begin);
    else
      out += mask;
  }
  return out;
}

}  // namespace parapet::guard
