// One stream's decoder: packets in, frames out.
#pragma once
#include <cstdint>
#include <memory>

#include "parapet/formats/media_container.h"

struct AVCodecContext;

namespace parapet::media_detail {

class Decoder {
 public:
  // DataError when the stream's coding is not one we read, or its header is damaged.
  Decoder(Container& container, const AVStream& stream, int64_t max_pixels, int threads);
  // Calls `use(frame)` for each frame that is ready once `packet` (null: the end) is in; stops when
  // it returns false, and returns false then. What cannot be decoded is counted, not thrown.
  template <class Use>
  bool feed(const AVPacket* packet, AVFrame& frame, Use&& use) {
    send(packet);
    while (receive(frame))
      if (!use(frame)) return false;
    return true;
  }
  // Forget what was fed, after a seek.
  void flush();
  int64_t damaged_packets() const { return damaged_; }
  AVCodecContext& codec() { return *codec_; }

 private:
  void send(const AVPacket* packet);
  bool receive(AVFrame& frame);
  void count_damage(int status);

  struct FreeCodec {
    void operator()(AVCodecContext* codec) const;
  };
  Container& container_;
  std::unique_ptr<AVCodecContext, FreeCodec> codec_;
  int64_t damaged_ = 0;
};

}  // namespace parapet::media_detail
