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
  // Empty where there is none; valid as long as the demuxer's data.
  const auto chunk_of = [&](const char* name) {
    WebPChunkIterator chunk;
    std::string_view found;
    if (WebPDemuxGetChunk(demuxer.get(), name, 1, &chunk))
      found = {reinterpret_cast<const char*>(chunk.chunk.bytes), chunk.chunk.size};
    WebPDemuxReleaseChunkIterator(&chunk);
    return found;
  };
  if (const auto found = exif_orientation(chunk_of("EXIF"))) return *found;
  return xmp_orientation(chunk_of("XMP ")).value_or(1);
}

// RGBA to colours and, where `decoded` wants it, alpha.
void split(const uint8_t* rgba, Decoded& decoded) {
  for (size_t i = 0; i < decoded.image.rgb.size() / 3; ++i)
    std::memcpy(&decoded.image.rgb[3 * i], rgba + 4 * i, 3);
  for (size_t i = 0; i < decoded.alpha.size(); ++i) decoded.alpha[i] = rgba[4 * i + 3];
}

void decode_first_frame(std::string_view bytes, std::string_view source, Decoded& decoded) {
  WebPAnimDecoderOptions options;
  WebPAnimDecoderOptionsInit(&options);
  options.color_mode = MODE_RGBA;
  const WebPData data{data_of(bytes), bytes.size()};
  const std::unique_ptr<WebPAnimDecoder, void (*)(WebPAnimDecoder*)> decoder(
      WebPAnimDecoderNew(&data, &options), WebPAnimDecoderDelete);
  uint8_t* rgba = nullptr;
  int timestamp = 0;
  if (!decoder || !WebPAnimDecoderGetNext(decoder.get(), &rgba, &timestamp)) throw_damaged(source);
  split(rgba, decoded);
}

void decode_with_alpha(std::string_view bytes, std::string_view source, Decoded& decoded) {
  std::vector<uint8_t> rgba(decoded.alpha.size() * 4);
  const auto stride = static_cast<int>(decoded.image.width * 4);
  if (WebPDecodeRGBAInto(data_of(bytes), bytes.size(), rgba.data(), rgba.size(), stride) == nullptr)
    throw_damaged(source);
  split(rgba.data(), decoded);
}

}  // namespace

Header webp_header(std::string_view bytes, std::string_view source) {
  const WebPBitstreamFeatures features = features_of(bytes, source);
  return {features.width, features.height, orientation_of(bytes)};
}

Decoded decode_webp(std::string_view bytes, std::string_view source, const DecodeOptions& options) {
  const WebPBitstreamFeatures features = features_of(bytes, source);
  check_pixels(features.width, features.height, options.max_pixels, source);
  Decoded decoded;
  Image& image = decoded.image;
  image.width = features.width;
  image.height = features.height;
  const auto pixels = static_cast<size_t>(image.width * image.height);
  image.rgb.resize(pixels * 3);
  if (features.has_alpha) decoded.alpha.resize(pixels);
  if (features.has_animation)
    decode_first_frame(bytes, source, decoded);
  else if (features.has_alpha)
    decode_with_alpha(bytes, source, decoded);
  else if (WebPDecodeRGBInto(data_of(bytes), bytes.size(), image.rgb.data(), image.rgb.size(),
                             features.width * 3) == nullptr)
    throw_damaged(source);
  return decoded;
}

}  // namespace parapet::image_detail
