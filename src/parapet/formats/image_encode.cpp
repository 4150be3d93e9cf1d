#include <png.h>
#include <turbojpeg.h>
#include <zlib.h>

#include <algorithm>
#include <csetjmp>
#include <memory>

#include "parapet/core/error.h"
#include "parapet/formats/image.h"

namespace parapet {
namespace {

void append(png_structp png, png_bytep data, size_t count) {
  static_cast<std::string*>(png_get_io_ptr(png))->append(reinterpret_cast<char*>(data), count);
}
void flush_nothing(png_structp) {}
void on_error(png_structp png, png_const_charp) { png_longjmp(png, 1); }
void on_warning(png_structp, png_const_charp) {}

struct PngWriter {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, on_error, on_warning);
  png_infop info = png_create_info_struct(png);
  ~PngWriter() { png_destroy_write_struct(&png, &info); }

  // False after an error; no destructors inside, errors arrive by longjmp.
  bool write(std::string* out, const uint8_t* pixels, int64_t width, int64_t height, int channels,
             int level) {
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_write_fn(png, out, append, flush_nothing);
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
    png_set_compression_level(png, std::clamp(level, 0, 9));
    // Rendered art is flat: subtracting the row above leaves runs of zeros, and one fixed filter
    // is far cheaper than trying five per row.
    if (level <= 1) png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_UP);
    png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), 8,
                 channels == 4 ? PNG_COLOR_TYPE_RGBA : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int64_t y = 0; y < height; ++y) png_write_row(png, pixels + y * width * channels);
    png_write_end(png, info);
    return true;
  }
};

std::string encode(const std::vector<uint8_t>& pixels, int64_t width, int64_t height, int channels,
                   int level) {
  if (width <= 0 || height <= 0 || int64_t(pixels.size()) != width * height * channels)
    throw UsageError("encode_png: " + std::to_string(pixels.size()) + " bytes are not " +
                     std::to_string(width) + " x " + std::to_string(height) + " x " +
                     std::to_string(channels));
  std::string out;
  out.reserve(pixels.size() / 2 + 1024);
  if (!PngWriter().write(&out, pixels.data(), width, height, channels, level))
    throw Error(ErrorKind::kInternal, "encode_png: libpng refused the image");
  return out;
}

}  // namespace

std::string encode_png(const Image& image, int level) {
  return encode(image.rgb, image.width, image.height, 3, level);
}

std::string encode_png_rgba(const std::vector<uint8_t>& rgba, int64_t width, int64_t height,
                            int level) {
  return encode(rgba, width, height, 4, level);
}

std::string encode_jpeg(const Image& image, int quality) {
  if (image.width <= 0 || image.height <= 0 || image.width > 65535 || image.height > 65535 ||
      int64_t(image.rgb.size()) != image.width * image.height * 3)
    throw UsageError("encode_jpeg: not an image of 1..65535 x 1..65535 RGB pixels");
  const std::unique_ptr<void, int (*)(void*)> encoder(tjInitCompress(), tjDestroy);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  const int failed = tjCompress2(encoder.get(), image.rgb.data(), static_cast<int>(image.width), 0,
                                 static_cast<int>(image.height), TJPF_RGB, &bytes, &size,
                                 TJSAMP_420, std::clamp(quality, 1, 100), TJFLAG_ACCURATEDCT);
  const std::unique_ptr<unsigned char, void (*)(unsigned char*)> owner(bytes, tjFree);
  if (failed != 0)
    throw Error(ErrorKind::kInternal, std::string("encode_jpeg: ") + tjGetErrorStr2(encoder.get()));
  return {reinterpret_cast<char*>(bytes), size};
}

}  // namespace parapet
