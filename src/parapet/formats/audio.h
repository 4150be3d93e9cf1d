// Sound: decoded to mono float samples at one rate, as models take it.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/core/context.h"

namespace parapet {

struct AudioOptions {
  int64_t sample_rate = 16000;           // of the result, in Hz
  int64_t max_bytes = int64_t{2} << 30;  // of the encoded file
  double max_seconds = 3600;             // of sound; by the header before decoding, and while
  int64_t max_streams = 64;              // in the file
  int64_t max_channels = 64;             // of the stream that is decoded
  double first_seconds = 0;              // > 0: decode no more than so much from the start
  double max_damaged_share = 0.1;        // of the packets; more than that is an error
  bool accept_truncated = false;         // take what is there of a file that is cut off
};

struct Audio {
  int64_t sample_rate = 0;      // of `samples`, in Hz
  std::vector<float> samples;   // mono; full scale is -1..1, files of floats may go beyond
  std::string container;        // FFmpeg's names, e.g. "mp3", "mov,mp4,m4a,3gp,3g2,mj2"
  std::string codec;            // e.g. "mp3", "aac"
  int64_t stored_rate = 0;      // in the file
  int64_t stored_channels = 0;  // in the file
  int64_t streams = 0;          // of sound in the file; one of them was decoded
  int64_t damaged_packets = 0;  // left out
  double seconds() const {
    return sample_rate == 0
               ? 0
               : static_cast<double>(samples.size()) / static_cast<double>(sample_rate);
  }
};

// WAV, MP3, FLAC, OGG (Vorbis, Opus), M4A, and the sound of a video. Channels are mixed, the rate
// is changed and the coder's padding is cut off as `ffmpeg -ac 1 -ar RATE` does. Of several streams
// the file's default is taken, then the one with most channels. `source` names the file in errors.
// DataError: not sound, empty, damaged, cut off (where the format says how long it should be), over
// a limit, samples that are not numbers. Cancelled.
Audio decode_audio(std::string_view bytes, std::string_view source,
                   const AudioOptions& options = {}, const Context& context = {});
// The same of a path, or "shard.tar#member". A large file is not taken into memory. Only regular
// files are read: a pipe might never end.
Audio load_audio(const std::string& location, const AudioOptions& options = {},
                 const Context& context = {});

}  // namespace parapet
