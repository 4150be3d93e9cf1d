#include <cstring>
#include <utility>

#include "parapet/formats/image_codecs.h"

namespace parapet::image_detail {
namespace {

// Bounds-checked reads of a TIFF block in its own byte order.
struct Tiff {
  std::string_view bytes;
  bool little = true;

  bool has(size_t at, size_t count) const {
    return at <= bytes.size() && count <= bytes.size() - at;
  }
  uint32_t number(size_t at, size_t count) const {
    uint32_t value = 0;
    for (size_t i = 0; i < count; ++i) {
      const size_t from = little ? at + count - 1 - i : at + i;
      value = value << 8 | static_cast<uint8_t>(bytes[from]);
    }
    return value;
  }
};

constexpr uint32_t kOrientationTag = 0x0112;
constexpr uint32_t kShort = 3;
constexpr size_t kEntryBytes = 12;

}  // namespace

int exif_orientation(std::string_view bytes) {
  if (bytes.size() < 8) return 1;
  const Tiff tiff{bytes, bytes.starts_with("II")};
  if (!tiff.little && !bytes.starts_with("MM")) return 1;
  const size_t directory = tiff.number(4, 4);
  if (!tiff.has(directory, 2)) return 1;
  const size_t count = tiff.number(directory, 2);
  for (size_t i = 0; i < count; ++i) {
    const size_t entry = directory + 2 + i * kEntryBytes;
    if (!tiff.has(entry, kEntryBytes)) return 1;
    if (tiff.number(entry, 2) != kOrientationTag) continue;
    if (tiff.number(entry + 2, 2) != kShort) return 1;
    const auto value = static_cast<int>(tiff.number(entry + 8, 2));
    return value >= 1 && value <= 8 ? value : 1;
  }
  return 1;
}

Image apply_orientation(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const int64_t w = image.width;
  const int64_t h = image.height;
  const bool swaps = orientation >= 5;
  Image out{swaps ? h : w, swaps ? w : h, std::vector<uint8_t>(image.rgb.size())};
  // Where output (x, y) comes from: start + x * step_x + y * step_y, in pixels of the input.
  struct Walk {
    int64_t start, step_x, step_y;
  };
  const Walk walks[] = {{w - 1, -1, w},       {w * h - 1, -1, -w}, {w * (h - 1), 1, -w}, {0, w, 1},
                        {w * (h - 1), -w, 1}, {w * h - 1, -w, -1}, {w - 1, w, -1}};
  const Walk walk = walks[orientation - 2];
  uint8_t* to = out.rgb.data();
  for (int64_t y = 0; y < out.height; ++y) {
    const uint8_t* from = image.rgb.data() + (walk.start + y * walk.step_y) * 3;
    for (int64_t x = 0; x < out.width; ++x, to += 3, from += walk.step_x * 3) {
      to[0] = from[0];
      to[1] = from[1];
      to[2] = from[2];
    }
  }
  return out;
}

}  // namespace parapet::image_detail
