// Images: decode to 8-bit RGB, resize as Pillow does, encode for data sets and reports.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/formats/pixels.h"

namespace parapet {

// Changes when the same file decodes to other pixels than before: caches of what was computed from
// pixels and is found by a file's bytes keep it in their keys.
inline constexpr std::string_view kPixelsVersion = "pixels-2";

// JPEG (also CMYK), PNG (palette, 16 bit, grey), WebP, GIF (first frame). Transparency is laid over
// white, as transformers' convert_to_rgb does; of 16-bit samples the high byte is taken. What a
// picture shows on other grounds: image_views.h. `source` names the image in errors. DataError: not
// an image, truncated, over a cap.
Image decode_image(std::string_view bytes, std::string_view source,
                   const DecodeOptions& options = {});
// Width and height from the header alone, orientation applied.
std::pair<int64_t, int64_t> image_size(std::string_view bytes, std::string_view source);

// Image values in data sets: a path, or "shard.tar#member". Bytes of either; shards are indexed
// once per process and kept open.
std::string read_location(const std::string& location, int64_t max_bytes);
// Whether read_location would find something, without reading it: of a member the index is asked.
// Never throws; a shard that cannot be indexed holds nothing.
bool location_exists(const std::string& location);
Image load_image(const std::string& location, const DecodeOptions& options = {});

// Antialiased bicubic (a = -0.5), equal to Pillow 13's Image.resize(BICUBIC) on 8-bit RGB: the same
// fixed-point coefficients and order of passes.
Image resize_bicubic(const Image& image, int64_t width, int64_t height);
// Pillow's BILINEAR and nearest, for preprocessors that ask for them.
enum class Resample { kNearest = 0, kBilinear = 2, kBicubic = 3 };
Image resize(const Image& image, int64_t width, int64_t height, Resample filter);
// crop(resize(image, width, height, filter), ...) without computing what is cropped away: exact,
// faster, and safe for extreme aspect ratios. UsageError when a side exceeds 2^30.
Image resize_crop(const Image& image, int64_t width, int64_t height, Resample filter, int64_t left,
                  int64_t top, int64_t crop_width, int64_t crop_height);
// The rectangle may reach outside; what lies outside is black, as in CLIPImageProcessor.
Image crop(const Image& image, int64_t left, int64_t top, int64_t width, int64_t height);

// `level` 0..9. Small images encode in tens of microseconds at level 1.
std::string encode_png(const Image& image, int level = 6);
// Interleaved 8-bit RGBA, rows top to bottom.
std::string encode_png_rgba(const std::vector<uint8_t>& rgba, int64_t width, int64_t height,
                            int level = 6);
std::string encode_jpeg(const Image& image, int quality = 90);

}  // namespace parapet
