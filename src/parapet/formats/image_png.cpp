// PNG through libpng, with the values of Pillow's convert("RGB"): alpha and tRNS dropped, no gamma.
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
    // The pixel cap decides, not libpng's own limit on sides; text and profile chunks are skipped.
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
    png_set_chunk_malloc_max(png, 8 << 20);
    static const png_byte kSkipped[] = "iCCP\0iTXt\0tEXt\0zTXt\0sPLT\0hIST";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, kSkipped, 6);
    png_read_info(png, info);
    return true;
  }

  bool start() {
    if (setjmp(png_jmpbuf(png))) return false;
    const int type = png_get_color_type(png, info);
    if (type == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) < 8)
      png_set_expand_gray_1_2_4_to_8(png);
    if (type != PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) == 16) png_set_strip_16(png);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_packing(png);
    if (type & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(png);
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
};

void expect(const Decoder& decoder, bool ok, std::string_view source) {
  if (ok) return;
  if (decoder.input.ended) throw_truncated(source, "PNG");
  throw DataError(source, std::string("PNG data is damaged: ") + decoder.input.message,
                  "Fetch or export the image again.");
}

int orientation_of(const Decoder& decoder) {
  png_uint_32 count = 0;
  png_bytep data = nullptr;
  if (!png_get_eXIf_1(decoder.png, decoder.info, &count, &data) || data == nullptr) return 1;
  std::string_view exif(reinterpret_cast<const char*>(data), count);
  // Some writers keep JPEG's prefix.
  if (exif.starts_with(std::string_view("Exif\0\0", 6))) exif.remove_prefix(6);
  return exif_orientation(exif);
}

// One decoded row to RGB, by sample layout.
struct RowConverter {
  int type;
  bool wide;
  uint8_t palette[256][3];

  explicit RowConverter(const Decoder& decoder)
      : type(png_get_color_type(decoder.png, decoder.info)),
        wide(png_get_bit_depth(decoder.png, decoder.info) == 16) {
    // Indices beyond the palette are black, as in Pillow.
    std::memset(palette, 0, sizeof palette);
    png_colorp colors = nullptr;
    int count = 0;
    if (!png_get_PLTE(decoder.png, decoder.info, &colors, &count)) return;
    for (int i = 0; i < std::min(count, 256); ++i) {
      palette[i][0] = colors[i].red;
      palette[i][1] = colors[i].green;
      palette[i][2] = colors[i].blue;
    }
  }

  void operator()(const uint8_t* in, uint8_t* out, int64_t width) const {
    if (type == PNG_COLOR_TYPE_PALETTE) {
      for (int64_t x = 0; x < width; ++x) std::memcpy(out + 3 * x, palette[in[x]], 3);
    } else if (wide) {
      // Pillow clips 16-bit grey to 255 rather than scaling it.
      for (int64_t x = 0; x < width; ++x)
        std::memset(out + 3 * x, in[2 * x] != 0 ? 255 : in[2 * x + 1], 3);
    } else {
      for (int64_t x = 0; x < width; ++x) std::memset(out + 3 * x, in[x], 3);
    }
  }
};

}  // namespace

Header png_header(std::string_view bytes, std::string_view source) {
  Decoder decoder(bytes);
  expect(decoder, decoder.header(), source);
  return {png_get_image_width(decoder.png, decoder.info),
          png_get_image_height(decoder.png, decoder.info), orientation_of(decoder)};
}

Image decode_png(std::string_view bytes, std::string_view source, const DecodeOptions& options) {
  Decoder decoder(bytes);
  expect(decoder, decoder.header(), source);
  Image image{png_get_image_width(decoder.png, decoder.info),
              png_get_image_height(decoder.png, decoder.info),
              {}};
  check_pixels(image.width, image.height, options.max_pixels, source);
  expect(decoder, decoder.start(), source);
  const auto width = static_cast<size_t>(image.width);
  const auto height = static_cast<size_t>(image.height);
  const size_t row_bytes = png_get_rowbytes(decoder.png, decoder.info);
  image.rgb.resize(width * height * 3);
  const bool direct =
      (png_get_color_type(decoder.png, decoder.info) & ~PNG_COLOR_MASK_ALPHA) == PNG_COLOR_TYPE_RGB;
  std::vector<uint8_t> raw(direct ? 0 : row_bytes * height);
  expect(
      decoder,
      decoder.rows(direct ? image.rgb.data() : raw.data(), direct ? width * 3 : row_bytes, height),
      source);
  if (direct) return image;
  const RowConverter convert(decoder);
  for (size_t y = 0; y < height; ++y)
    convert(raw.data() + y * row_bytes, image.rgb.data() + y * width * 3, image.width);
  return image;
}

}  // namespace parapet::image_detail
