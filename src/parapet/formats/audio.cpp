#include "parapet/formats/audio.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
}

#include <algorithm>
#include <cmath>
#include <optional>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/formats/audio_ending.h"
#include "parapet/formats/audio_resampler.h"
#include "parapet/formats/media_container.h"
#include "parapet/formats/media_decoder.h"

namespace parapet {
namespace {

using namespace media_detail;

// Outside of these a header lies, and a resampler would need a filter of absurd length.
constexpr int kLowestRate = 1000;
constexpr int kHighestRate = 768000;
// A file may be this much shorter than it says: coders round up to whole frames, muxers to ticks.
constexpr double kMissingSeconds = 0.1;
constexpr double kMissingShare = 0.01;

bool is_sound(const AVStream& stream) { return stream.codecpar->codec_type == AVMEDIA_TYPE_AUDIO; }

// The stream that a player would take; see decode_audio.
const AVStream& choose_stream(Container& container, int64_t& count) {
  const AVStream* best = nullptr;
  int64_t best_score = -1;
  AVFormatContext& format = container.format();
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    const AVStream& stream = *format.streams[i];
    if (!is_sound(stream)) continue;
    ++count;
    const bool preferred = (stream.disposition & AV_DISPOSITION_DEFAULT) != 0;
    const int64_t score = stream.codecpar->ch_layout.nb_channels + (preferred ? 1'000'000 : 0);
    if (score > best_score) {
      best = &stream;
      best_score = score;
    }
  }
  if (best == nullptr)
    throw DataError(container.source(), "holds no sound",
                    "Give a file with a sound track, or leave it out.");
  return *best;
}

class AudioReader {
 public:
  AudioReader(Container& container, const AudioOptions& options)
      : container_(container), options_(options) {
    if (options.first_seconds > 0) wanted_ = samples_of(options.first_seconds);
  }

  Audio read() {
    const AVStream& stream = choose_stream(container_, audio_.streams);
    container_.select(stream.index);
    Decoder decoder(container_, stream, /*max_pixels=*/1, /*threads=*/1);
    audio_.sample_rate = options_.sample_rate;
    audio_.container = container_.name();
    audio_.codec = avcodec_get_name(stream.codecpar->codec_id);
    audio_.stored_rate = stream.codecpar->sample_rate;
    audio_.stored_channels = stream.codecpar->ch_layout.nb_channels;
    const bool to_the_end = decode(decoder);
    if (resampler_) resampler_->drain(audio_.samples);
    if (wanted_ > 0 && static_cast<int64_t>(audio_.samples.size()) > wanted_)
      audio_.samples.resize(static_cast<size_t>(wanted_));
    audio_.damaged_packets = decoder.damaged_packets();
    check_result(to_the_end, claimed_seconds(container_.format(), stream));
    return std::move(audio_);
  }

 private:
  int64_t samples_of(double seconds) const {
    return static_cast<int64_t>(std::ceil(seconds * static_cast<double>(options_.sample_rate)));
  }

  // False when it stopped early because there is enough.
  bool decode(Decoder& decoder) {
    const Packet packet = make_packet();
    const Frame frame = make_frame();
    const auto use = [&](const AVFrame& decoded) { return add(decoded); };
    while (container_.read(*packet)) {
      ++packets_;
      packet_seconds_ +=
          static_cast<double>(packet->duration) * av_q2d(decoder.codec().pkt_timebase);
      if (!decoder.feed(packet.get(), *frame, use)) return false;
    }
    return decoder.feed(nullptr, *frame, use);
  }

  bool add(const AVFrame& frame) {
    check_frame(frame);
    if (!resampler_ || !resampler_->takes(frame)) {
      if (resampler_) resampler_->drain(audio_.samples);
      resampler_.emplace(container_, frame, static_cast<int>(options_.sample_rate));
    }
    const size_t before = audio_.samples.size();
    resampler_->add(frame, audio_.samples);
    decoded_seconds_ += static_cast<double>(frame.nb_samples) / frame.sample_rate;
    check_finite(before);
    const auto have = static_cast<int64_t>(audio_.samples.size());
    if (have > samples_of(options_.max_seconds) + options_.sample_rate)
      throw DataError(
          container_.source(),
          "is longer than the limit of " + format_number(options_.max_seconds, 1) + " seconds",
          "Cut the file into parts, or raise the limit.");
    return wanted_ == 0 || have < wanted_;
  }

  void check_frame(const AVFrame& frame) const {
    if (frame.sample_rate < kLowestRate || frame.sample_rate > kHighestRate)
      throw DataError(container_.source(), "its sound has " + std::to_string(frame.sample_rate) +
                                               " samples per second, which is outside " +
                                               std::to_string(kLowestRate) + ".." +
                                               std::to_string(kHighestRate));
    if (frame.ch_layout.nb_channels < 1 || frame.ch_layout.nb_channels > options_.max_channels)
      throw DataError(container_.source(),
                      "its sound has " + std::to_string(frame.ch_layout.nb_channels) +
                          " channels, the limit is " + std::to_string(options_.max_channels));
  }

  void check_finite(size_t from) const {
    for (size_t i = from; i < audio_.samples.size(); ++i)
      if (!std::isfinite(audio_.samples[i]))
        throw DataError(
            container_.source(),
            "a sample near second " +
                format_number(static_cast<double>(i) / static_cast<double>(options_.sample_rate),
                              2) +
                " is not a finite number",
            "Export the sound again.");
  }

  void check_result(bool to_the_end, double claimed) const {
    const std::string& source = container_.source();
    if (audio_.samples.empty())
      throw DataError(source, "holds no sample of sound", "Fetch or export the file again.");
    const auto damaged = static_cast<double>(audio_.damaged_packets);
    if (damaged > options_.max_damaged_share * static_cast<double>(packets_))
      throw DataError(source,
                      "is damaged: " + std::to_string(audio_.damaged_packets) + " of " +
                          std::to_string(packets_) + " packets cannot be decoded",
                      "Fetch or export the file again.");
    if (!to_the_end || options_.accept_truncated) return;
    // Some formats count the coder's padding, which is cut off, and some do not.
    const double there = std::max(decoded_seconds_, packet_seconds_);
    if (there < claimed * (1 - kMissingShare) - kMissingSeconds)
      throw DataError(source,
                      "is cut off: it says that it lasts " + format_number(claimed, 2) +
                          " seconds, but there are " + format_number(there, 2),
                      "Fetch or export the file again.");
  }

  Container& container_;
  const AudioOptions& options_;
  Audio audio_;
  std::optional<Resampler> resampler_;
  int64_t wanted_ = 0;  // samples; 0 = all
  int64_t packets_ = 0;
  double decoded_seconds_ = 0;
  double packet_seconds_ = 0;
};

Audio read_audio(const MediaBytes& bytes, std::string_view source, const AudioOptions& options,
                 const Context& context) {
  if (options.sample_rate < kLowestRate || options.sample_rate > kHighestRate)
    throw UsageError("sample_rate must be " + std::to_string(kLowestRate) + ".." +
                     std::to_string(kHighestRate));
  // Only the beginning of a long file is wanted: its length does not matter then.
  const double limit = options.first_seconds > 0 ? 1e18 : options.max_seconds;
  Container container(bytes, source, {limit, options.max_streams, /*max_pixels=*/INT64_MAX},
                      context);
  Audio audio = AudioReader(container, options).read();
  if (options.first_seconds > 0 || options.accept_truncated) return audio;
  const std::string missing = missing_end(bytes, audio.container);
  if (!missing.empty())
    throw DataError(source, "is cut off: it " + missing, "Fetch or export the file again.");
  return audio;
}

}  // namespace

Audio decode_audio(std::string_view bytes, std::string_view source, const AudioOptions& options,
                   const Context& context) {
  check_size(static_cast<int64_t>(bytes.size()), options.max_bytes, source);
  return read_audio(*view_media(bytes), source, options, context);
}

Audio load_audio(const std::string& location, const AudioOptions& options, const Context& context) {
  return read_audio(*open_media(location, options.max_bytes), location, options, context);
}

}  // namespace parapet
