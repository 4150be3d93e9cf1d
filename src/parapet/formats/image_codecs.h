// The decoders behind decode_image, one file each. All throw DataError naming `source`.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "parapet/formats/pixels.h"

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

// What a file stores, before it is laid over a ground and turned upright.
struct Decoded {
  Image image;                   // the colours as stored, also of transparent pixels
  std::vector<uint8_t> alpha;    // one per pixel; empty where the format or the file has none
  std::vector<uint16_t> grey16;  // 16-bit grey: the samples, of which `image` has the high bytes
};

// Decoders check `max_pixels` against the header before they allocate; orientation is not applied.
Decoded decode_jpeg(std::string_view bytes, std::string_view source, const DecodeOptions& options);
Decoded decode_png(std::string_view bytes, std::string_view source, const DecodeOptions& options);
Decoded decode_webp(std::string_view bytes, std::string_view source, const DecodeOptions& options);
Decoded decode_gif(std::string_view bytes, std::string_view source, const DecodeOptions& options);

// What the file stores, without transparency where every pixel is opaque, and its orientation (1
// when the options say not to apply it).
std::pair<Decoded, int> decode_stored(std::string_view bytes, std::string_view source,
                                      const DecodeOptions& options);

// DataError when the product exceeds the cap or a side is not positive.
void check_pixels(int64_t width, int64_t height, int64_t max_pixels, std::string_view source);

// The orientation that a TIFF block (an EXIF payload, with or without the "Exif\0\0" prefix) gives:
// 1 for values that mean nothing, empty where it gives none. The types of numbers are those that
// Pillow reads.
std::optional<int> exif_orientation(std::string_view tiff);
// The same of an XMP packet's tiff:Orientation.
std::optional<int> xmp_orientation(std::string_view xmp);
// The orientation from metadata of a PNG, before and behind its pixels: eXIf, else a raw profile,
// else XMP, as Pillow's exif_transpose does.
int png_orientation(std::string_view bytes);
// Turns an image stored with EXIF orientation 1..8 upright.
Image apply_orientation(Image image, int orientation);

// `stored` over a ground of one grey level, rounded as Pillow's alpha_composite does.
Image lay_over(Image stored, const std::vector<uint8_t>& alpha, uint8_t ground);

[[noreturn]] void throw_truncated(std::string_view source, std::string_view format);

}  // namespace parapet::image_detail
