// Any bytes as an image's header: a DataError, or the size that decoding gives; and a size over the
// cap is refused from the header, before any pixel has room.
#include <cstdlib>

#include "parapet/core/error.h"
#include "parapet/formats/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace parapet;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::pair<int64_t, int64_t> header{0, 0};
  try {
    header = image_size(bytes, "fuzz");
    if (header.first < 1 || header.second < 1) std::abort();
  } catch (const DataError&) {
  }
  DecodeOptions options;
  options.max_pixels = 1 << 14;
  try {
    const Image image = decode_image(bytes, "fuzz", options);
    if (image.width != header.first || image.height != header.second) std::abort();
    if (image.width * image.height > options.max_pixels) std::abort();
  } catch (const DataError&) {
  }
  return 0;
}
