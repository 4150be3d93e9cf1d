#include "parapet/core/text_encoding.h"

#include <algorithm>
#include <array>

#include "parapet/core/error.h"
#include "parapet/core/utf8.h"

namespace parapet {
namespace {

enum class Encoding { kUtf8, kUtf16Little, kUtf16Big, kUtf32Little, kUtf32Big };

struct Mark {
  std::string_view bytes;
  Encoding encoding;
};
// UTF-32 little-endian begins as UTF-16 does.
constexpr std::array kMarks = {
    Mark{std::string_view("\xFF\xFE\0\0", 4), Encoding::kUtf32Little},
    Mark{std::string_view("\0\0\xFE\xFF", 4), Encoding::kUtf32Big},
    Mark{"\xEF\xBB\xBF", Encoding::kUtf8},
    Mark{"\xFF\xFE", Encoding::kUtf16Little},
    Mark{"\xFE\xFF", Encoding::kUtf16Big},
};

constexpr const char* kConvert =
    "Convert it to UTF-8, e.g. iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW, naming the encoding that "
    "it was saved in.";
constexpr const char* kConvert16 =
    "Convert it to UTF-8, e.g. iconv -f UTF-16LE -t UTF-8 OLD > NEW, or save it with a byte order "
    "mark.";

std::string place(std::string_view source, std::string_view before) {
  return std::string(source) + ":" +
         std::to_string(1 + std::count(before.begin(), before.end(), '\n'));
}

std::string convert(std::string_view bytes, Encoding encoding, std::string_view source) {
  const bool wide = encoding == Encoding::kUtf32Little || encoding == Encoding::kUtf32Big;
  const bool big = encoding == Encoding::kUtf16Big || encoding == Encoding::kUtf32Big;
  const size_t width = wide ? 4 : 2;
  std::string out;
  out.reserve(bytes.size());
  const auto unit = [&](size_t at) {
    char32_t value = 0;
    for (size_t k = 0; k < width; ++k)
      value = value << 8 | static_cast<unsigned char>(bytes[at + (big ? k : width - 1 - k)]);
    return value;
  };
  const auto refuse = [&](const char* problem) {
    throw DataError(place(source, out), problem,
                    "The byte order mark says UTF-16 or UTF-32; save the file again as UTF-8.");
  };
  for (size_t at = 0; at < bytes.size(); at += width) {
    if (bytes.size() - at < width) refuse("ends in the middle of a character");
    char32_t c = unit(at);
    if (!wide && c >= 0xD800 && c < 0xDC00) {
      const char32_t low = bytes.size() - at >= 4 ? unit(at + 2) : 0;
      if (low < 0xDC00 || low > 0xDFFF) refuse("has half a character (a lone surrogate)");
      c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
      at += 2;
    }
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) refuse("has a number that is no character");
    append_utf8(out, c);
  }
  return out;
}

// Zero bytes in every other place: UTF-16 of a script that Latin letters stand for.
bool looks_like_utf16(std::string_view bytes) {
  const std::string_view head = bytes.substr(0, 4096);
  const auto zeros = static_cast<size_t>(std::count(head.begin(), head.end(), '\0'));
  return head.size() >= 4 && zeros * 4 >= head.size();
}

void check_utf8(std::string_view bytes, std::string_view source) {
  if (looks_like_utf16(bytes))
    throw DataError(place(source, {}),
                    "is no UTF-8 text: every other byte is zero, as in UTF-16 without a byte order "
                    "mark",
                    kConvert16);
  const size_t at = valid_utf8_prefix(bytes);
  if (at == bytes.size()) return;
  static constexpr char kHex[] = "0123456789ABCDEF";
  const auto byte = static_cast<unsigned char>(bytes[at]);
  throw DataError(place(source, bytes.substr(0, at)),
                  std::string("is not UTF-8: byte 0x") + kHex[byte >> 4] + kHex[byte & 15] +
                      " at offset " + std::to_string(at) + " of the file",
                  kConvert);
}

}  // namespace

std::string_view marked_text(std::string_view bytes, std::string_view source,
                             std::string& storage) {
  for (const Mark& mark : kMarks) {
    if (!bytes.starts_with(mark.bytes)) continue;
    const std::string_view rest = bytes.substr(mark.bytes.size());
    if (mark.encoding == Encoding::kUtf8) return rest;
    storage = convert(rest, mark.encoding, source);
    return storage;
  }
  if (looks_like_utf16(bytes)) check_utf8(bytes, source);
  return bytes;
}

std::string_view utf8_text(std::string_view bytes, std::string_view source, std::string& storage) {
  const std::string_view text = marked_text(bytes, source, storage);
  if (text.data() != storage.data() || storage.empty()) check_utf8(text, source);
  return text;
}

std::string read_text_file(const std::filesystem::path& file, int64_t cap) {
  std::string bytes = read_file(file, cap), storage;
  const std::string_view text = utf8_text(bytes, file.string(), storage);
  if (text.size() == bytes.size()) return bytes;
  return std::string(text);
}

}  // namespace parapet
