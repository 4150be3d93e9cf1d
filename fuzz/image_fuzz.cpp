// Any bytes as an image: a DataError, or a picture whose size fits its pixels and the caps.
#include "parapet/core/error.h"
#include "parapet/formats/image.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  parapet::DecodeOptions options;
  options.max_pixels = 1 << 20;
  // The last byte decides: seeds are whole images, and decoders do not mind what follows.
  options.scale_for = data[size - 1] % 2 == 0 ? 0 : 64;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  try {
    const auto image = parapet::decode_image(bytes, "fuzz", options);
    if (image.width <= 0 || image.height <= 0 ||
        image.rgb.size() != static_cast<size_t>(image.width * image.height * 3))
      __builtin_trap();
    parapet::resize_bicubic(image, 32, 32);
  } catch (const parapet::DataError&) {
  }
  return 0;
}
