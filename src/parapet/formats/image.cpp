#include "parapet/formats/image.h"

#include <array>
#include <utility>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/formats/image_codecs.h"

namespace parapet {
namespace {

using namespace std::string_view_literals;

enum class Format { kJpeg, kPng, kWebp, kGif };

struct Magic {
  std::string_view bytes;
  std::string_view name;
};

// What people put in image folders by mistake.
constexpr std::array kForeign = {Magic{"BM"sv, "a BMP image"},
                                 Magic{"II*\0"sv, "a TIFF image"},
                                 Magic{"MM\0*"sv, "a TIFF image"},
                                 Magic{"%PDF"sv, "a PDF document"},
                                 Magic{"PK\3\4"sv, "a zip archive"},
                                 Magic{"\x1f\x8b"sv, "gzip data"},
                                 Magic{"\x28\xb5\x2f\xfd"sv, "zstd data"},
                                 Magic{"<svg"sv, "an SVG drawing"},
                                 Magic{"<!DOCTYPE"sv, "an HTML page"},
                                 Magic{"<!doctype"sv, "an HTML page"},
                                 Magic{"<html"sv, "an HTML page"},
                                 Magic{"<?xml"sv, "an XML document"},
                                 Magic{"{"sv, "JSON text"},
                                 Magic{"\x89HDF"sv, "an HDF5 file"},
                                 Magic{"\0\0\x01\0"sv, "an icon file"},
                                 Magic{"\xff\x0a"sv, "a JPEG XL image"}};

std::string describe(std::string_view bytes) {
  if (bytes.size() >= 12 && bytes.substr(4, 4) == "ftyp") {
    const std::string_view brand = bytes.substr(8, 4);
    if (brand == "avif" || brand == "avis") return "an AVIF image";
    if (brand == "heic" || brand == "heix" || brand == "mif1") return "a HEIC image";
    return "an MP4-family file";
  }
  for (const Magic& magic : kForeign)
    if (bytes.starts_with(magic.bytes)) return std::string(magic.name);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text = "data that starts with the bytes";
  for (const char c : bytes.substr(0, 8)) {
    const auto byte = static_cast<uint8_t>(c);
    text.append({' ', kHex[byte >> 4], kHex[byte & 15]});
  }
  return text;
}

Format sniff(std::string_view bytes, std::string_view source) {
  if (bytes.empty())
    throw DataError(source, "is empty (zero bytes)", "Fetch or export the image again.");
  if (bytes.starts_with("\xff\xd8\xff"sv)) return Format::kJpeg;
  if (bytes.starts_with("\x89PNG\r\n\x1a\n"sv)) return Format::kPng;
  if (bytes.starts_with("GIF87a"sv) || bytes.starts_with("GIF89a"sv)) return Format::kGif;
  if (bytes.size() >= 12 && bytes.starts_with("RIFF"sv) && bytes.substr(8, 4) == "WEBP"sv)
    return Format::kWebp;
  throw DataError(source, "is not an image Parapet reads: found " + describe(bytes),
                  "Use JPEG, PNG, WebP or GIF.");
}

image_detail::Header read_header(Format format, std::string_view bytes, std::string_view source) {
  switch (format) {
    case Format::kJpeg:
      return image_detail::jpeg_header(bytes, source);
    case Format::kPng:
      return image_detail::png_header(bytes, source);
    case Format::kWebp:
      return image_detail::webp_header(bytes, source);
    case Format::kGif:
      break;
  }
  return image_detail::gif_header(bytes, source);
}

image_detail::Decoded decode_as(Format format, std::string_view bytes, std::string_view source,
                                const DecodeOptions& options) {
  switch (format) {
    case Format::kJpeg:
      return image_detail::decode_jpeg(bytes, source, options);
    case Format::kPng:
      return image_detail::decode_png(bytes, source, options);
    case Format::kWebp:
      return image_detail::decode_webp(bytes, source, options);
    case Format::kGif:
      break;
  }
  return image_detail::decode_gif(bytes, source, options);
}

}  // namespace

namespace image_detail {

std::pair<Decoded, int> decode_stored(std::string_view bytes, std::string_view source,
                                      const DecodeOptions& options) {
  if (static_cast<int64_t>(bytes.size()) > options.max_bytes)
    throw DataError(source, "is " + format_bytes(static_cast<int64_t>(bytes.size())) +
                                ", the limit for an image is " + format_bytes(options.max_bytes));
  const Format format = sniff(bytes, source);
  const Header header = read_header(format, bytes, source);
  check_pixels(header.width, header.height, options.max_pixels, source);
  Decoded stored = decode_as(format, bytes, source, options);
  uint8_t all = 255;
  for (const uint8_t a : stored.alpha) all &= a;
  if (all == 255) stored.alpha.clear();
  return {std::move(stored), options.apply_exif_orientation ? header.orientation : 1};
}

}  // namespace image_detail

Image decode_image(std::string_view bytes, std::string_view source, const DecodeOptions& options) {
  auto [stored, orientation] = image_detail::decode_stored(bytes, source, options);
  Image image = stored.alpha.empty()
                    ? std::move(stored.image)
                    : image_detail::lay_over(std::move(stored.image), stored.alpha, 255);
  return image_detail::apply_orientation(std::move(image), orientation);
}

std::pair<int64_t, int64_t> image_size(std::string_view bytes, std::string_view source) {
  const image_detail::Header header = read_header(sniff(bytes, source), bytes, source);
  if (header.width <= 0 || header.height <= 0)
    throw DataError(source, "the image header says it has no pixels");
  if (header.orientation >= 5) return {header.height, header.width};
  return {header.width, header.height};
}

}  // namespace parapet
