#include "parapet/formats/media_decoder.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}

#include <new>
#include <string>

#include "parapet/formats/media_allowed.h"

namespace parapet::media_detail {

void Decoder::FreeCodec::operator()(AVCodecContext* codec) const { avcodec_free_context(&codec); }

Decoder::Decoder(Container& container, const AVStream& stream, int64_t max_pixels, int threads)
    : container_(container) {
  const AVCodecParameters& about = *stream.codecpar;
  const AVCodec* decoder = avcodec_find_decoder(about.codec_id);
  const std::string name = avcodec_get_name(about.codec_id);
  codec_.reset(avcodec_alloc_context3(decoder));
  if (!codec_) throw std::bad_alloc();
  codec_->codec_whitelist = av_strdup(kDecoders);
  codec_->max_pixels = max_pixels;
  codec_->thread_count = threads;
  codec_->pkt_timebase = stream.time_base;
  int status = avcodec_parameters_to_context(codec_.get(), &about);
  if (status >= 0) {
    codec_->pkt_timebase = stream.time_base;
    status = decoder == nullptr ? AVERROR_DECODER_NOT_FOUND
                                : avcodec_open2(codec_.get(), decoder, nullptr);
  }
  if (status < 0)
    container_.fail("is coded as '" + name + "', which Parapet cannot decode", status,
                    "Convert it, for example sound to WAV or FLAC and video to H.264 in MP4.");
}

void Decoder::count_damage(int status) {
  container_.rethrow();
  if (status == AVERROR(ENOMEM)) container_.fail("needs more memory than there is", status);
  ++damaged_;
}

void Decoder::send(const AVPacket* packet) {
  const int status = avcodec_send_packet(codec_.get(), packet);
  // After an end that was given twice, EOF comes back; nothing is lost by it.
  if (status < 0 && status != AVERROR_EOF) count_damage(status);
}

bool Decoder::receive(AVFrame& frame) {
  // What lies behind a damaged piece is asked for too, but not without end.
  for (int attempt = 0; attempt < 64; ++attempt) {
    const int status = avcodec_receive_frame(codec_.get(), &frame);
    if (status >= 0) return true;
    if (status == AVERROR(EAGAIN) || status == AVERROR_EOF) return false;
    count_damage(status);
  }
  return false;
}

void Decoder::flush() { avcodec_flush_buffers(codec_.get()); }

}  // namespace parapet::media_detail
