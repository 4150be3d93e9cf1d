// The decoders behind decode_image, one file each. All throw DataError naming `source`.
#pragma once
#include <cstdint>
#include <string_view>

#include "parapet/formats/image.h"

namespace parapet::image_detail {

struct Header {
  int64_t width = 0;
  int64_t height = 0;
  int orientation = 1;  // EXIF 1..8
};

Header jpeg_header(std::string_view bytes, std::string_view source);
Header png_header(std::string_view bytes, std::string_view source);
Header webp_header(std::string_view bytes, std::string_view source);
Header gif_header(std::string_view bytes, std::string_view source);

// Decoders check `max_pixels` against the header before they allocate; orientation is not applied.
Image decode_jpeg(std::string_view bytes, std::string_view source, const DecodeOptions& options);
Image decode_png(std::string_view bytes, std::string_view source, const DecodeOptions& options);
Image decode_webp(std::string_view bytes, std::string_view source, const DecodeOptions& options);
Image decode_gif(std::string_view bytes, std::string_view source, const DecodeOptions& options);

// DataError when the product exceeds the cap or a side is not positive.
void check_pixels(int64_t width, int64_t height, int64_t max_pixels, std::string_view source);

// The orientation tag of a TIFF block (an EXIF payload without the "Exif\0\0" prefix); 1 when
// absent or malformed, as viewers treat it.
int exif_orientation(std::string_view tiff);
// Turns an image stored with EXIF orientation 1..8 upright.
Image apply_orientation(Image image, int orientation);

[[noreturn]] void throw_truncated(std::string_view source, std::string_view format);

}  // namespace parapet::image_detail
