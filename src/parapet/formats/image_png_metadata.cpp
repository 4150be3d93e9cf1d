// Where a PNG keeps its orientation. libpng reads chunks as far as the pixels; metadata may stand
// behind them too, so the chunks are walked here. Nothing is allocated but a bounded text.
#include <zlib.h>

#include <algorithm>
#include <cstddef>
#include <string>

#include "parapet/formats/image_codecs.h"

namespace parapet::image_detail {
namespace {

constexpr size_t kMaxText = size_t{1} << 20;  // of an inflated chunk; the rest is not looked at
constexpr int kMaxInflated = 16;              // chunks per file
constexpr std::string_view kXmpKey = "XML:com.adobe.xmp";
constexpr std::string_view kProfileKey = "Raw profile type exif";

uint32_t big_endian(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

// As much as fits; what is damaged ends the text.
std::string inflate_text(std::string_view packed) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return {};
  std::string text(std::min(kMaxText, packed.size() * 16 + 4096), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  for (;;) {
    stream.next_out = reinterpret_cast<Bytef*>(text.data()) + stream.total_out;
    stream.avail_out = static_cast<uInt>(text.size() - stream.total_out);
    const int status = inflate(&stream, Z_NO_FLUSH);
    if (status != Z_OK || stream.avail_out > 0 || text.size() == kMaxText) break;
    text.resize(std::min(kMaxText, text.size() * 2));
  }
  text.resize(stream.total_out);
  inflateEnd(&stream);
  return text;
}

// "\nexif\n     150\n" and hexadecimal digits in lines, as ImageMagick writes profiles.
std::string profile_bytes(std::string_view text) {
  for (int line = 0; line < 3; ++line) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  std::string bytes;
  int high = -1;
  for (const char c : text) {
    const char lower = static_cast<char>(c | 0x20);
    int digit = -1;
    if (c >= '0' && c <= '9')
      digit = c - '0';
    else if (lower >= 'a' && lower <= 'f')
      digit = lower - 'a' + 10;
    if (digit < 0) continue;
    if (high >= 0) bytes.push_back(static_cast<char>(high << 4 | digit));
    high = high >= 0 ? -1 : digit;
  }
  return bytes;
}

class Metadata {
 public:
  void take(std::string_view type, std::string_view data) {
    if (type == "eXIf") {
      exif_ = data;
    } else if (type == "tEXt" || type == "zTXt" || type == "iTXt") {
      const size_t end = data.find('\0');
      if (end == std::string_view::npos) return;
      const std::string_view key = data.substr(0, end);
      if (key == kXmpKey)
        xmp_ = text_of(type, data.substr(end + 1));
      else if (key == kProfileKey)
        profile_ = profile_bytes(text_of(type, data.substr(end + 1)));
    }
  }

  int orientation() const {
    const std::string_view exif = exif_.empty() ? std::string_view(profile_) : exif_;
    if (const auto found = exif_orientation(exif)) return *found;
    return xmp_orientation(xmp_).value_or(1);
  }

 private:
  std::string text_of(std::string_view type, std::string_view data) {
    bool packed = type == "zTXt";
    if (type == "iTXt") {
      if (data.size() < 2) return {};
      packed = data[0] != 0;
      if (packed && data[1] != 0) return {};  // a method other than deflate
      data.remove_prefix(2);
      for (int i = 0; i < 2; ++i) {  // the language and the translated keyword
        const size_t end = data.find('\0');
        if (end == std::string_view::npos) return {};
        data.remove_prefix(end + 1);
      }
    } else if (packed) {
      if (data.empty() || data[0] != 0) return {};
      data.remove_prefix(1);
    }
    if (!packed) return std::string(data.substr(0, kMaxText));
    return ++inflated_ > kMaxInflated ? std::string() : inflate_text(data);
  }

  std::string_view exif_;
  std::string profile_;
  std::string xmp_;
  int inflated_ = 0;
};

}  // namespace

int png_orientation(std::string_view bytes) {
  Metadata metadata;
  for (size_t at = 8; bytes.size() - std::min(bytes.size(), at) >= 12;) {
    const size_t length = big_endian(bytes, at);
    if (length > bytes.size() - at - 12) break;
    const std::string_view type = bytes.substr(at + 4, 4);
    if (type == "IEND") break;
    if (type == "eXIf" || type.ends_with("Xt")) {
      // A chunk whose checksum is wrong does not count, as libpng has it.
      const auto* start = reinterpret_cast<const Bytef*>(bytes.data() + at + 4);
      if (crc32(0, start, static_cast<uInt>(length + 4)) == big_endian(bytes, at + 8 + length))
        metadata.take(type, bytes.substr(at + 8, length));
    }
    at += length + 12;
  }
  return metadata.orientation();
}

}  // namespace parapet::image_detail
