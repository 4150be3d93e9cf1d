#include "parapet/formats/audio_resampler.h"

extern "C" {
#include <libavutil/channel_layout.h>
#include <libavutil/frame.h>
#include <libswresample/swresample.h>
}

#include <algorithm>

namespace parapet::media_detail {

void Resampler::FreeSwr::operator()(SwrContext* swr) const { swr_free(&swr); }

Resampler::Resampler(Container& container, const AVFrame& like, int rate)
    : container_(container),
      format_(like.format),
      rate_(like.sample_rate),
      channels_(like.ch_layout.nb_channels) {
  // Where the file does not say which speakers its channels are for, the usual ones are meant.
  AVChannelLayout from{};
  if (like.ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
    av_channel_layout_default(&from, channels_);
  else
    av_channel_layout_copy(&from, &like.ch_layout);
  AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO;
  SwrContext* swr = nullptr;
  int status = swr_alloc_set_opts2(&swr, &mono, AV_SAMPLE_FMT_FLT, rate, &from,
                                   static_cast<AVSampleFormat>(format_), rate_, 0, nullptr);
  swr_.reset(swr);
  if (status >= 0) status = swr_init(swr_.get());
  av_channel_layout_uninit(&from);
  if (status < 0)
    container_.fail("its " + std::to_string(channels_) + " channels cannot be mixed to one",
                    status);
}

bool Resampler::takes(const AVFrame& frame) const {
  return frame.format == format_ && frame.sample_rate == rate_ &&
         frame.ch_layout.nb_channels == channels_;
}

void Resampler::add(const AVFrame& frame, std::vector<float>& out) {
  convert(frame.extended_data, frame.nb_samples, out);
}

void Resampler::drain(std::vector<float>& out) { convert(nullptr, 0, out); }

void Resampler::convert(const uint8_t* const* planes, int count, std::vector<float>& out) {
  const int room = swr_get_out_samples(swr_.get(), count);
  if (room < 0) container_.fail("its sound cannot be converted", room);
  const size_t before = out.size();
  // Grown in large steps: a file is some hundred thousand frames.
  if (out.capacity() < before + static_cast<size_t>(room))
    out.reserve(std::max(before + static_cast<size_t>(room), 2 * before));
  out.resize(before + static_cast<size_t>(room));
  auto* to = reinterpret_cast<uint8_t*>(out.data() + before);
  const int made = swr_convert(swr_.get(), &to, room, const_cast<const uint8_t**>(planes), count);
  if (made < 0) container_.fail("its sound cannot be converted", made);
  out.resize(before + static_cast<size_t>(made));
}

}  // namespace parapet::media_detail
