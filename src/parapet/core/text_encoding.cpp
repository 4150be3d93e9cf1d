#include "parapet/core/text_encoding.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "parapet/core/error.h"

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

void append(std::string& out, char32_t c) {
  const auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6), put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12), put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18), put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F)), put(0x80 | (c & 0x3F));
  }
}

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
    append(out, c);
  }
  return out;
}

// Bytes of the character at the start of `s`; 0 = not valid (Unicode 15, table 3-7).
size_t valid_length(std::string_view s) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (s.size() < length) return 0;
  const unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  return length;
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
  for (size_t at = 0; at < bytes.size();) {
    uint64_t word = 0;  // eight bytes of ASCII at once
    if (at + 8 <= bytes.size()) std::memcpy(&word, bytes.data() + at, 8);
    if (at + 8 <= bytes.size() && (word & 0x8080808080808080u) == 0) {
      at += 8;
      continue;
    }
    const size_t length = valid_length(bytes.substr(at, 4));
    if (length == 0) {
      static constexpr char kHex[] = "0123456789ABCDEF";
      const auto byte = static_cast<unsigned char>(bytes[at]);
      throw DataError(place(source, bytes.substr(0, at)),
                      std::string("is not UTF-8: byte 0x") + kHex[byte >> 4] + kHex[byte & 15] +
                          " at offset " + std::to_string(at) + " of the file",
                      kConvert);
    }
    at += length;
  }
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
