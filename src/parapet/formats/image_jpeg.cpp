// JPEG through libjpeg-turbo with Pillow's choices: accurate integer DCT, smooth chroma upsampling,
// CMYK taken as Adobe writes it (inverted).
#include <csetjmp>
#include <cstddef>
#include <cstdio>
// jpeglib.h needs size_t and FILE first.
#include <jpeglib.h>

#include <algorithm>
#include <string>

#include "parapet/core/error.h"
#include "parapet/formats/image_codecs.h"

namespace parapet::image_detail {
namespace {

// Progressive files with more scans than this are made to exhaust a decoder.
constexpr int kMaxScans = 100;

struct Failure {
  jpeg_error_mgr base;
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

void on_error(j_common_ptr info) {
  auto* failure = reinterpret_cast<Failure*>(info->err);
  (*info->err->format_message)(info, failure->message);
  std::longjmp(failure->jump, 1);
}
void on_message(j_common_ptr) {}

// A source that says "no more bytes" at the end instead of inventing an end-of-image marker.
boolean fill_nothing(j_decompress_ptr) { return FALSE; }
void ignore(j_decompress_ptr) {}
void skip(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  const size_t step = std::min(static_cast<size_t>(count), info->src->bytes_in_buffer);
  info->src->next_input_byte += step;
  info->src->bytes_in_buffer -= step;
}

void check_scans(j_common_ptr info) {
  if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= kMaxScans) return;
  auto* failure = reinterpret_cast<Failure*>(info->err);
  std::snprintf(failure->message, sizeof failure->message, "more than %d scans", kMaxScans);
  std::longjmp(failure->jump, 1);
}

// One decompressor. Plain data and no destructors between setjmp and longjmp: the pixel buffer
// belongs to the caller.
struct Decoder {
  jpeg_decompress_struct info{};
  Failure failure{};
  jpeg_source_mgr input{};
  jpeg_progress_mgr progress{};

  explicit Decoder(std::string_view bytes) {
    info.err = jpeg_std_error(&failure.base);
    failure.base.error_exit = on_error;
    failure.base.output_message = on_message;
    jpeg_create_decompress(&info);
    input.next_input_byte = reinterpret_cast<const JOCTET*>(bytes.data());
    input.bytes_in_buffer = bytes.size();
    input.init_source = ignore;
    input.fill_input_buffer = fill_nothing;
    input.skip_input_data = skip;
    input.resync_to_restart = jpeg_resync_to_restart;
    input.term_source = ignore;
    info.src = &input;
    progress.progress_monitor = check_scans;
    info.progress = &progress;
  }
  ~Decoder() { jpeg_destroy_decompress(&info); }
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  enum class Outcome { kDone, kTruncated, kFailed };

  Outcome header(bool keep_exif) {
    if (setjmp(failure.jump)) return Outcome::kFailed;
    if (keep_exif) jpeg_save_markers(&info, JPEG_APP0 + 1, 0xffff);
    return jpeg_read_header(&info, TRUE) == JPEG_HEADER_OK ? Outcome::kDone : Outcome::kTruncated;
  }

  Outcome start(int scale_eighths) {
    if (setjmp(failure.jump)) return Outcome::kFailed;
    info.scale_num = static_cast<unsigned>(scale_eighths);
    info.scale_denom = 8;
    info.dct_method = JDCT_ISLOW;
    info.out_color_space = info.num_components == 4   ? JCS_CMYK
                           : info.num_components == 1 ? JCS_GRAYSCALE
                                                      : JCS_RGB;
    return jpeg_start_decompress(&info) ? Outcome::kDone : Outcome::kTruncated;
  }

  // `row_bytes` apart, output_height rows.
  Outcome rows(uint8_t* out, size_t row_bytes) {
    if (setjmp(failure.jump)) return Outcome::kFailed;
    while (info.output_scanline < info.output_height) {
      JSAMPROW batch[4];
      for (size_t i = 0; i < 4; ++i) batch[i] = out + (info.output_scanline + i) * row_bytes;
      const JDIMENSION left = std::min<JDIMENSION>(4, info.output_height - info.output_scanline);
      if (jpeg_read_scanlines(&info, batch, left) == 0) return Outcome::kTruncated;
    }
    return Outcome::kDone;
  }
};

void expect_done(const Decoder& decoder, Decoder::Outcome outcome, std::string_view source) {
  if (outcome == Decoder::Outcome::kDone) return;
  if (outcome == Decoder::Outcome::kTruncated) throw_truncated(source, "JPEG");
  throw DataError(source, std::string("JPEG data is damaged: ") + decoder.failure.message,
                  "Fetch or export the image again.");
}

int orientation_of(const jpeg_decompress_struct& info) {
  constexpr std::string_view kExif("Exif\0\0", 6), kXmp("http://ns.adobe.com/xap/1.0/\0", 29);
  std::string_view exif, xmp;
  std::string joined;  // EXIF of more than one marker
  for (auto* marker = info.marker_list; marker != nullptr; marker = marker->next) {
    const std::string_view data(reinterpret_cast<const char*>(marker->data), marker->data_length);
    if (data.starts_with(kXmp)) xmp = data.substr(kXmp.size());
    if (!data.starts_with(kExif)) continue;
    if (exif.empty()) {
      exif = data.substr(kExif.size());
    } else {
      if (joined.empty()) joined = exif;
      joined += data.substr(kExif.size());
    }
  }
  if (!joined.empty()) exif = joined;
  if (const auto found = exif_orientation(exif)) return *found;
  return xmp_orientation(xmp).value_or(1);
}

uint8_t multiply_255(int a, int b) {
  const int product = a * b + 128;
  return static_cast<uint8_t>((product + (product >> 8)) >> 8);
}

// Pillow's CMYK to RGB on Adobe's inverted values, in place at the start of each row.
void cmyk_row(const uint8_t* in, uint8_t* out, int64_t width) {
  for (int64_t x = 0; x < width; ++x, in += 4, out += 3)
    for (int c = 0; c < 3; ++c)
      out[c] = static_cast<uint8_t>(std::max(0, in[3] - multiply_255(255 - in[c], in[3])));
}

void grey_row(const uint8_t* in, uint8_t* out, int64_t width) {
  for (int64_t x = 0; x < width; ++x, out += 3) out[0] = out[1] = out[2] = in[x];
}

// The smallest eighths among 1, 2, 4, 8 that keep both sides >= 2 x `scale_for` and whole: a
// rounded side would shift and stretch the picture.
int choose_scale(int64_t width, int64_t height, int64_t scale_for) {
  if (scale_for <= 0) return 8;
  for (int eighths : {1, 2, 4})
    if (width * eighths % 8 == 0 && height * eighths % 8 == 0 &&
        std::min(width, height) * eighths / 8 >= 2 * scale_for)
      return eighths;
  return 8;
}

}  // namespace

Header jpeg_header(std::string_view bytes, std::string_view source) {
  Decoder decoder(bytes);
  expect_done(decoder, decoder.header(true), source);
  return {decoder.info.image_width, decoder.info.image_height, orientation_of(decoder.info)};
}

Decoded decode_jpeg(std::string_view bytes, std::string_view source, const DecodeOptions& options) {
  Decoder decoder(bytes);
  auto& info = decoder.info;
  expect_done(decoder, decoder.header(false), source);
  check_pixels(info.image_width, info.image_height, options.max_pixels, source);
  if (info.num_components != 1 && info.num_components != 3 && info.num_components != 4)
    throw DataError(source, "JPEG with " + std::to_string(info.num_components) +
                                " components is not supported");
  expect_done(decoder,
              decoder.start(choose_scale(info.image_width, info.image_height, options.scale_for)),
              source);
  Decoded decoded;
  Image& image = decoded.image;
  image.width = info.output_width;
  image.height = info.output_height;
  const auto width = static_cast<size_t>(image.width);
  const auto height = static_cast<size_t>(image.height);
  image.rgb.resize(width * height * 3);
  const auto components = static_cast<size_t>(info.output_components);
  if (components == 3) {
    expect_done(decoder, decoder.rows(image.rgb.data(), width * 3), source);
    return decoded;
  }
  std::vector<uint8_t> raw(width * height * components);
  expect_done(decoder, decoder.rows(raw.data(), width * components), source);
  for (size_t y = 0; y < height; ++y) {
    const uint8_t* in = raw.data() + y * width * components;
    uint8_t* out = image.rgb.data() + y * width * 3;
    if (components == 4)
      cmyk_row(in, out, image.width);
    else
      grey_row(in, out, image.width);
  }
  return decoded;
}

}  // namespace parapet::image_detail
