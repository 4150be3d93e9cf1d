// WebP through libwebp; of an animation the first frame on its canvas.
#include <webp/decode.h>
#include <webp/demux.h>

#include <cstring>
#include <memory>
#include <string>

#include "parapet/core/error.h"
#include "parapet/formats/image_codecs.h"

namespace parapet::image_detail {
namespace {

const uint8_t* data_of(std::string_view bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}

[[noreturn]] void throw_damaged(std::string_view source) {
  throw DataError(source, "WebP data is damaged or truncated", "Fetch or export the image again.");
}

WebPBitstreamFeatures features_of(std::string_view bytes, std::string_view source) {
  WebPBitstreamFeatures features;
  const VP8StatusCode status = WebPGetFeatures(data_of(bytes), bytes.size(), &features);
  if (status == VP8_STATUS_NOT_ENOUGH_DATA) throw_truncated(source, "WebP");
  if (status != VP8_STATUS_OK) throw_damaged(source);
  return features;
}

int orientation_of(std::string_view bytes) {
  const WebPData data{data_of(bytes), bytes.size()};
  const std::unique_ptr<WebPDemuxer, void (*)(WebPDemuxer*)> demuxer(WebPDemux(&data),
                                                                     WebPDemuxDelete);
  if (!demuxer) return 1;
  WebPChunkIterator chunk;
  int orientation = 1;
  if (WebPDemuxGetChunk(demuxer.get(), "EXIF", 1, &chunk)) {
    std::string_view exif(reinterpret_cast<const char*>(chunk.chunk.bytes), chunk.chunk.size);
    if (exif.starts_with(std::string_view("Exif\0\0", 6))) exif.remove_prefix(6);
    orientation = exif_orientation(exif);
  }
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

void decode_first_frame(std::string_view bytes, std::string_view source, Image& image) {
  WebPAnimDecoderOptions options;
  WebPAnimDecoderOptionsInit(&options);
  options.color_mode = MODE_RGBA;
  const WebPData data{data_of(bytes), bytes.size()};
  const std::unique_ptr<WebPAnimDecoder, void (*)(WebPAnimDecoder*)> decoder(
      WebPAnimDecoderNew(&data, &options), WebPAnimDecoderDelete);
  uint8_t* rgba = nullptr;
  int timestamp = 0;
  if (!decoder || !WebPAnimDecoderGetNext(decoder.get(), &rgba, &timestamp)) throw_damaged(source);
  for (size_t i = 0; i < image.rgb.size() / 3; ++i) std::memcpy(&image.rgb[3 * i], rgba + 4 * i, 3);
}

}  // namespace

Header webp_header(std::string_view bytes, std::string_view source) {
  const WebPBitstreamFeatures features = features_of(bytes, source);
  return {features.width, features.height, orientation_of(bytes)};
}

Image decode_webp(std::string_view bytes, std::string_view source, const DecodeOptions& options) {
  const WebPBitstreamFeatures features = features_of(bytes, source);
  check_pixels(features.width, features.height, options.max_pixels, source);
  Image image{features.width, features.height, {}};
  image.rgb.resize(static_cast<size_t>(image.width * image.height * 3));
  if (features.has_animation)
    decode_first_frame(bytes, source, image);
  else if (WebPDecodeRGBInto(data_of(bytes), bytes.size(), image.rgb.data(), image.rgb.size(),
                             features.width * 3) == nullptr)
    throw_damaged(source);
  return image;
}

}  // namespace parapet::image_detail
