// The first frame of a GIF through giflib, with the values of Pillow: the canvas outside the frame
// has the transparent colour (or palette entry 0).
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "parapet/core/error.h"
#include "parapet/formats/image_codecs.h"

namespace parapet::image_detail {
namespace {

struct Input {
  std::string_view bytes;
  bool ended = false;
};

int read_some(GifFileType* gif, GifByteType* out, int count) {
  auto* input = static_cast<Input*>(gif->UserData);
  const size_t step = std::min(static_cast<size_t>(count), input->bytes.size());
  if (step < static_cast<size_t>(count)) input->ended = true;
  std::memcpy(out, input->bytes.data(), step);
  input->bytes.remove_prefix(step);
  return static_cast<int>(step);
}

void close_gif(GifFileType* gif) { DGifCloseFile(gif, nullptr); }

// The file up to and including the descriptor of its first image.
struct Reader {
  Input input;
  std::string_view source;
  std::unique_ptr<GifFileType, void (*)(GifFileType*)> gif{nullptr, close_gif};
  int transparent = -1;

  Reader(std::string_view bytes, std::string_view from) : input{bytes}, source(from) {
    int error = 0;
    gif.reset(DGifOpen(&input, read_some, &error));
    if (!gif) fail(error);
    for (;;) {
      GifRecordType type = UNDEFINED_RECORD_TYPE;
      check(DGifGetRecordType(gif.get(), &type));
      if (type == IMAGE_DESC_RECORD_TYPE) break;
      if (type == TERMINATE_RECORD_TYPE) throw DataError(source, "the GIF holds no image");
      if (type == EXTENSION_RECORD_TYPE) read_extension();
    }
    check(DGifGetImageDesc(gif.get()));
  }

  void read_extension() {
    int code = 0;
    GifByteType* block = nullptr;
    check(DGifGetExtension(gif.get(), &code, &block));
    while (block != nullptr) {
      GraphicsControlBlock control;
      if (code == GRAPHICS_EXT_FUNC_CODE &&
          DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK)
        transparent = control.TransparentColor;
      check(DGifGetExtensionNext(gif.get(), &block));
    }
  }

  void check(int status) const {
    if (status == GIF_ERROR) fail(gif->Error);
  }
  [[noreturn]] void fail(int error) const {
    if (input.ended) throw_truncated(source, "GIF");
    const char* text = GifErrorString(error);
    throw DataError(source, std::string("GIF data is damaged: ") + (text ? text : "unknown"),
                    "Fetch or export the image again.");
  }

  // A frame may reach beyond the screen; the canvas then grows, as in Pillow.
  int64_t width() const {
    return std::max<int64_t>(gif->SWidth, int64_t{gif->Image.Left} + gif->Image.Width);
  }
  int64_t height() const {
    return std::max<int64_t>(gif->SHeight, int64_t{gif->Image.Top} + gif->Image.Height);
  }
};

struct Palette {
  uint8_t rgb[256][3];

  // Without a palette, indices are grey levels; beyond its end they are black.
  explicit Palette(const GifFileType& gif) {
    const ColorMapObject* map = gif.Image.ColorMap ? gif.Image.ColorMap : gif.SColorMap;
    for (int i = 0; i < 256; ++i) {
      std::memset(rgb[i], map ? 0 : i, 3);
      if (map == nullptr || i >= map->ColorCount) continue;
      rgb[i][0] = map->Colors[i].Red;
      rgb[i][1] = map->Colors[i].Green;
      rgb[i][2] = map->Colors[i].Blue;
    }
  }
};

}  // namespace

Header gif_header(std::string_view bytes, std::string_view source) {
  const Reader reader(bytes, source);
  return {reader.width(), reader.height(), 1};
}

Decoded decode_gif(std::string_view bytes, std::string_view source, const DecodeOptions& options) {
  Reader reader(bytes, source);
  Decoded decoded;
  Image& image = decoded.image;
  image.width = reader.width();
  image.height = reader.height();
  check_pixels(image.width, image.height, options.max_pixels, source);
  image.rgb.resize(static_cast<size_t>(image.width * image.height * 3));
  const Palette palette(*reader.gif);
  const uint8_t* fill = palette.rgb[std::max(0, reader.transparent)];
  for (size_t i = 0; i < image.rgb.size(); i += 3) std::memcpy(&image.rgb[i], fill, 3);
  if (reader.transparent >= 0) decoded.alpha.assign(image.rgb.size() / 3, 0);
  const GifImageDesc& frame = reader.gif->Image;
  std::vector<GifPixelType> line(static_cast<size_t>(frame.Width));
  // Interlaced rows arrive in four passes.
  static constexpr int kStart[] = {0, 4, 2, 1};
  static constexpr int kStep[] = {8, 8, 4, 2};
  for (int pass = 0; pass < (frame.Interlace ? 4 : 1); ++pass) {
    const int first = frame.Interlace ? kStart[pass] : 0;
    for (int y = first; y < frame.Height; y += frame.Interlace ? kStep[pass] : 1) {
      reader.check(DGifGetLine(reader.gif.get(), line.data(), frame.Width));
      const auto at = static_cast<size_t>((y + frame.Top) * image.width + frame.Left);
      uint8_t* out = image.rgb.data() + at * 3;
      for (const GifPixelType index : line) {
        std::memcpy(out, palette.rgb[index], 3);
        out += 3;
      }
      if (decoded.alpha.empty()) continue;
      for (size_t x = 0; x < line.size(); ++x)
        decoded.alpha[at + x] = line[x] == reader.transparent ? 0 : 255;
    }
  }
  return decoded;
}

}  // namespace parapet::image_detail
