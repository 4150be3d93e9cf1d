// PNG through libpng: colours and transparency as stored, no gamma. Values are Pillow's, and where
// Pillow is wrong the specification's: 16-bit grey keeps its levels, and a transparent colour
// counts at every depth.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <string>

#include "parapet/core/error.h"
#include "parapet/formats/image_codecs.h"

namespace parapet::image_detail {
namespace {

struct Input {
  std::string_view bytes;
  bool ended = false;
  char message[128] = {};
};

void read_some(png_structp png, png_bytep out, size_t count) {
  auto* input = static_cast<Input*>(png_get_io_ptr(png));
  if (count > input->bytes.size()) {
    input->ended = true;
    png_error(png, "data ends early");
  }
  std::memcpy(out, input->bytes.data(), count);
  input->bytes.remove_prefix(count);
}

void on_error(png_structp png, png_const_charp message) {
  auto* input = static_cast<Input*>(png_get_error_ptr(png));
  std::strncpy(input->message, message, sizeof input->message - 1);
  png_longjmp(png, 1);
}
void on_warning(png_structp, png_const_charp) {}

// Owns the libpng structures. Methods that call libpng return false after an error; they hold no
// objects with destructors, because errors arrive by longjmp.
struct Decoder {
  Input input;
  png_structp png = nullptr;
  png_infop info = nullptr;
  int passes = 1;

  explicit Decoder(std::string_view bytes) : input{bytes} {
    png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &input, on_error, on_warning);
    info = png_create_info_struct(png);
    png_set_read_fn(png, &input, read_some);
  }
  ~Decoder() { png_destroy_read_struct(&png, &info, nullptr); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  bool header() {
    if (setjmp(png_jmpbuf(png))) return false;
    // The pixel cap decides, not libpng's own limit on sides; metadata chunks are skipped.
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
    png_set_chunk_malloc_max(png, 8 << 20);
    static const png_byte kSkipped[] = "eXIf\0iCCP\0iTXt\0tEXt\0zTXt\0sPLT\0hIST";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, kSkipped, 7);
    png_read_info(png, info);
    return true;
  }

  // Samples of 16 bits are kept where the low byte matters: in grey, and to find a transparent
  // colour.
  bool start() {
    if (setjmp(png_jmpbuf(png))) return false;
    const int type = png_get_color_type(png, info);
    const bool keyed = png_get_valid(png, info, PNG_INFO_tRNS) != 0;
    if (png_get_bit_depth(png, info) < 8) png_set_packing(png);
    if (type != PNG_COLOR_TYPE_GRAY && !(type == PNG_COLOR_TYPE_RGB && keyed))
      png_set_strip_16(png);
    passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    return true;
  }

  // Rows `row_bytes` apart; an interlaced image takes several passes over them.
  bool rows(png_bytep out, size_t row_bytes, size_t height) {
    if (setjmp(png_jmpbuf(png))) return false;
    for (int pass = 0; pass < passes; ++pass)
      for (size_t y = 0; y < height; ++y) png_read_row(png, out + y * row_bytes, nullptr);
    return true;
  }

  // Of an image that is not interlaced: each row through one buffer. `convert` must not throw.
  template <class Convert>
  bool rows_through(png_bytep buffer, size_t height, const Convert& convert) {
    if (setjmp(png_jmpbuf(png))) return false;
    for (size_t y = 0; y < height; ++y) {
      png_read_row(png, buffer, nullptr);
      convert(buffer, y);
    }
    return true;
  }
};

void expect(const Decoder& decoder, bool ok, std::string_view source) {
  if (ok) return;
  if (decoder.input.ended) throw_truncated(source, "PNG");
  throw DataError(source, std::string("PNG data is damaged: ") + decoder.input.message,
                  "Fetch or export the image again.");
}

// Decoded rows to colours and transparency, by sample layout.
struct RowConverter {
  int type;
  int depth;
  bool keyed = false;  // one colour is transparent
  uint16_t key[3] = {};
  uint8_t palette[256][4];
  bool palette_alpha = false;

  // Before the decoder is started, which changes what it says of the depth.
  explicit RowConverter(const Decoder& decoder)
      : type(png_get_color_type(decoder.png, decoder.info)),
        depth(png_get_bit_depth(decoder.png, decoder.info)) {
    // Indices beyond the palette are black, as in Pillow.
    for (auto& entry : palette) std::memcpy(entry, "\0\0\0\xff", 4);
    png_colorp colors = nullptr;
    int count = 0;
    if (type == PNG_COLOR_TYPE_PALETTE && png_get_PLTE(decoder.png, decoder.info, &colors, &count))
      for (int i = 0; i < std::min(count, 256); ++i) {
        palette[i][0] = colors[i].red;
        palette[i][1] = colors[i].green;
        palette[i][2] = colors[i].blue;
      }
    png_bytep alphas = nullptr;
    png_color_16p color = nullptr;
    if (!png_get_tRNS(decoder.png, decoder.info, &alphas, &count, &color)) return;
    if (type == PNG_COLOR_TYPE_PALETTE) {
      palette_alpha = alphas != nullptr;
      for (int i = 0; palette_alpha && i < std::min(count, 256); ++i) palette[i][3] = alphas[i];
    } else if (color != nullptr) {
      keyed = true;
      // The specification counts the low bits only.
      const auto mask = static_cast<uint16_t>((1U << depth) - 1);
      const bool grey = type == PNG_COLOR_TYPE_GRAY;
      key[0] = (grey ? color->gray : color->red) & mask;
      key[1] = color->green & mask;
      key[2] = color->blue & mask;
    }
  }

  bool direct() const { return type == PNG_COLOR_TYPE_RGB && !keyed; }
  bool has_alpha() const { return keyed || palette_alpha || (type & PNG_COLOR_MASK_ALPHA) != 0; }
  bool grey16() const { return type == PNG_COLOR_TYPE_GRAY && depth == 16; }

  void operator()(const uint8_t* in, size_t y, Decoded& to) const {
    const auto width = static_cast<size_t>(to.image.width);
    uint8_t* out = to.image.rgb.data() + y * width * 3;
    uint8_t* alpha = to.alpha.empty() ? nullptr : to.alpha.data() + y * width;
    switch (type) {
      case PNG_COLOR_TYPE_PALETTE:
        for (size_t x = 0; x < width; ++x) std::memcpy(out + 3 * x, palette[in[x]], 3);
        for (size_t x = 0; alpha != nullptr && x < width; ++x) alpha[x] = palette[in[x]][3];
        break;
      case PNG_COLOR_TYPE_GRAY:
        if (depth == 16)
          grey16_row(in, out, alpha, to.grey16.data() + y * width, width);
        else
          grey_row(in, out, alpha, width);
        break;
      case PNG_COLOR_TYPE_GRAY_ALPHA:
        for (size_t x = 0; x < width; ++x) {
          std::memset(out + 3 * x, in[2 * x], 3);
          alpha[x] = in[2 * x + 1];
        }
        break;
      case PNG_COLOR_TYPE_RGB_ALPHA:
        for (size_t x = 0; x < width; ++x) {
          std::memcpy(out + 3 * x, in + 4 * x, 3);
          alpha[x] = in[4 * x + 3];
        }
        break;
      default:
        keyed_row(in, out, alpha, width);
    }
  }

 private:
  void grey_row(const uint8_t* in, uint8_t* out, uint8_t* alpha, size_t width) const {
    const int scale = 255 / ((1 << depth) - 1);
    for (size_t x = 0; x < width; ++x) std::memset(out + 3 * x, in[x] * scale, 3);
    for (size_t x = 0; alpha != nullptr && x < width; ++x) alpha[x] = in[x] == key[0] ? 0 : 255;
  }
  void grey16_row(const uint8_t* in, uint8_t* out, uint8_t* alpha, uint16_t* samples,
                  size_t width) const {
    for (size_t x = 0; x < width; ++x) {
      std::memset(out + 3 * x, in[2 * x], 3);
      samples[x] = static_cast<uint16_t>(in[2 * x] << 8 | in[2 * x + 1]);
    }
    for (size_t x = 0; alpha != nullptr && x < width; ++x)
      alpha[x] = samples[x] == key[0] ? 0 : 255;
  }
  // RGB of 8 or 16 bits with a transparent colour.
  void keyed_row(const uint8_t* in, uint8_t* out, uint8_t* alpha, size_t width) const {
    for (size_t x = 0; x < width; ++x) {
      bool same = true;
      for (size_t c = 0; c < 3; ++c) {
        const size_t i = 3 * x + c;
        const int value = depth == 16 ? in[2 * i] << 8 | in[2 * i + 1] : in[i];
        same = same && value == key[c];
        out[i] = depth == 16 ? in[2 * i] : in[i];
      }
      alpha[x] = same ? 0 : 255;
    }
  }
};

}  // namespace

Header png_header(std::string_view bytes, std::string_view source) {
  Decoder decoder(bytes);
  expect(decoder, decoder.header(), source);
  return {png_get_image_width(decoder.png, decoder.info),
          png_get_image_height(decoder.png, decoder.info), png_orientation(bytes)};
}

Decoded decode_png(std::string_view bytes, std::string_view source, const DecodeOptions& options) {
  Decoder decoder(bytes);
  expect(decoder, decoder.header(), source);
  Decoded decoded;
  Image& image = decoded.image;
  image.width = png_get_image_width(decoder.png, decoder.info);
  image.height = png_get_image_height(decoder.png, decoder.info);
  check_pixels(image.width, image.height, options.max_pixels, source);
  const RowConverter convert(decoder);
  expect(decoder, decoder.start(), source);
  const auto width = static_cast<size_t>(image.width);
  const auto height = static_cast<size_t>(image.height);
  const size_t row_bytes = png_get_rowbytes(decoder.png, decoder.info);
  image.rgb.resize(width * height * 3);
  if (convert.direct()) {
    expect(decoder, decoder.rows(image.rgb.data(), width * 3, height), source);
    return decoded;
  }
  if (convert.has_alpha()) decoded.alpha.resize(width * height);
  if (convert.grey16()) decoded.grey16.resize(width * height);
  const auto to_image = [&](const uint8_t* row, size_t y) { convert(row, y, decoded); };
  if (decoder.passes == 1) {
    std::vector<uint8_t> row(row_bytes);
    expect(decoder, decoder.rows_through(row.data(), height, to_image), source);
  } else {
    std::vector<uint8_t> raw(row_bytes * height);
    expect(decoder, decoder.rows(raw.data(), row_bytes, height), source);
    for (size_t y = 0; y < height; ++y) to_image(raw.data() + y * row_bytes, y);
  }
  return decoded;
}

}  // namespace parapet::image_detail
