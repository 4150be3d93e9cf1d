// Orientation: where EXIF and XMP keep it, and how a picture is turned by it.
#include <cmath>
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
  uint64_t number(size_t at, size_t count) const {
    uint64_t value = 0;
    for (size_t i = 0; i < count; ++i) {
      const size_t from = little ? at + count - 1 - i : at + i;
      value = value << 8 | static_cast<uint8_t>(bytes[from]);
    }
    return value;
  }
};

constexpr uint64_t kOrientationTag = 0x0112;
constexpr size_t kEntryBytes = 12;
// Bytes of a value by TIFF type 1..12.
constexpr size_t kTypeBytes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8};

enum TiffType : uint64_t {
  kShort = 3,
  kLong = 4,
  kRational = 5,
  kSigned8 = 6,
  kSigned16 = 8,
  kSigned32 = 9,
  kSignedRational = 10,
  kFloat = 11,
  kDouble = 12,
};

int valid(double value) {
  return value >= 1 && value <= 8 && value == std::floor(value) ? static_cast<int>(value) : 1;
}

// The number at `at`, of several the first. Negative numbers are large here, and mean nothing
// either way. Bytes, text and undefined data are no numbers to Pillow.
int number_at(const Tiff& tiff, uint64_t type, size_t at) {
  switch (type) {
    case kShort:
    case kLong:
    case kSigned8:
    case kSigned16:
    case kSigned32:
      return valid(static_cast<double>(tiff.number(at, kTypeBytes[type])));
    case kRational:
    case kSignedRational: {
      const auto below = static_cast<double>(tiff.number(at + 4, 4));
      return below == 0 ? 1 : valid(static_cast<double>(tiff.number(at, 4)) / below);
    }
    case kFloat: {
      const auto bits = static_cast<uint32_t>(tiff.number(at, 4));
      float value = 0;
      std::memcpy(&value, &bits, sizeof value);
      return valid(static_cast<double>(value));
    }
    case kDouble: {
      const uint64_t bits = tiff.number(at, 8);
      double value = 0;
      std::memcpy(&value, &bits, sizeof value);
      return valid(value);
    }
    default:
      return 1;
  }
}

}  // namespace

std::optional<int> exif_orientation(std::string_view bytes) {
  while (bytes.starts_with(std::string_view("Exif\0\0", 6))) bytes.remove_prefix(6);
  if (bytes.size() < 8) return {};
  const Tiff tiff{bytes, bytes.starts_with("II")};
  if (!tiff.little && !bytes.starts_with("MM")) return {};
  const size_t directory = tiff.number(4, 4);
  if (!tiff.has(directory, 2)) return {};
  const size_t count = tiff.number(directory, 2);
  std::optional<int> found;  // of a tag that stands twice the last counts
  for (size_t i = 0; i < count; ++i) {
    const size_t entry = directory + 2 + i * kEntryBytes;
    if (!tiff.has(entry, kEntryBytes)) break;
    if (tiff.number(entry, 2) != kOrientationTag) continue;
    const uint64_t type = tiff.number(entry + 2, 2);
    const uint64_t values = tiff.number(entry + 4, 4);
    if (type < 1 || type > kDouble || values == 0) continue;
    const size_t size = kTypeBytes[type] * values;
    const size_t at = size <= 4 ? entry + 8 : tiff.number(entry + 8, 4);
    if (!tiff.has(at, size)) continue;
    found = number_at(tiff, type, at);
  }
  return found;
}

std::optional<int> xmp_orientation(std::string_view xmp) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (size_t at = xmp.find(kName); at != std::string_view::npos; at = xmp.find(kName, at)) {
    at += kName.size();
    std::string_view rest = xmp.substr(at);
    if (rest.starts_with("=\""))
      rest.remove_prefix(2);
    else if (rest.starts_with(">"))
      rest.remove_prefix(1);
    else
      continue;
    if (rest.empty() || rest[0] < '0' || rest[0] > '9') continue;
    const bool longer = rest.size() > 1 && rest[1] >= '0' && rest[1] <= '9';
    return longer ? 1 : valid(rest[0] - '0');
  }
  return {};
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
