// Whether a file of sound has its end, where FFmpeg's demuxers do not say.
#pragma once
#include <string>

#include "parapet/formats/media_bytes.h"

namespace parapet::media_detail {

// What is missing at the end of a WAV ("wav") or Ogg ("ogg") file, as the rest of a sentence: "says
// that ..."; empty when nothing is, when the file was written as a stream without a length, or for
// other containers.
std::string missing_end(const MediaBytes& bytes, const std::string& container);

}  // namespace parapet::media_detail
