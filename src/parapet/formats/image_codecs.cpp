#include "parapet/formats/image_codecs.h"

#include "parapet/core/error.h"

namespace parapet::image_detail {

void check_pixels(int64_t width, int64_t height, int64_t max_pixels, std::string_view source) {
  if (width <= 0 || height <= 0) throw DataError(source, "the image header says it has no pixels");
  if (width > max_pixels / height)
    throw DataError(source,
                    "the image header says " + std::to_string(width) + " x " +
                        std::to_string(height) + " pixels, the limit is " +
                        std::to_string(max_pixels),
                    "Scale the image down, or raise the limit if you trust it.");
}

void throw_truncated(std::string_view source, std::string_view format) {
  throw DataError(source, std::string(format) + " data ends early: the file is truncated",
                  "Fetch or export the image again.");
}

Image lay_over(Image stored, const std::vector<uint8_t>& alpha, uint8_t ground) {
  uint8_t* pixel = stored.rgb.data();
  for (size_t i = 0; i < alpha.size(); ++i, pixel += 3) {
    const uint32_t a = alpha[i];
    if (a == 255) continue;
    for (int c = 0; c < 3; ++c) {
      const uint32_t sum = pixel[c] * a + ground * (255 - a) + 128;
      pixel[c] = static_cast<uint8_t>(((sum << 7) + (sum >> 1)) >> 15);
    }
  }
  return stored;
}

}  // namespace parapet::image_detail
