// What is read of a sound, for tests/conformance/test_media.py:
//   parapet_media_probe audio FILE OUT [RATE]      float32 samples to OUT, facts as JSON to stdout
//   parapet_media_probe mel CONFIG OUT PADDING FILE...   features of files of float32 samples;
//       PADDING is chunk or longest; OUT.mask holds the mask
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/formats/audio.h"
#include "parapet/formats/log_mel.h"

namespace {

template <class T>
void put(const std::string& file, const std::vector<T>& values) {
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(values.data()),
             static_cast<std::streamsize>(values.size() * sizeof(T)));
}

int audio(int argc, char** argv) {
  parapet::AudioOptions options;
  if (argc > 4) options.sample_rate = std::stoll(argv[4]);
  const parapet::Audio audio = parapet::load_audio(argv[2], options);
  put(argv[3], audio.samples);
  std::cout << nlohmann::json{{"codec", audio.codec},
                              {"container", audio.container},
                              {"stored_rate", audio.stored_rate},
                              {"stored_channels", audio.stored_channels},
                              {"damaged_packets", audio.damaged_packets}}
            << "\n";
  return 0;
}

int mel(int argc, char** argv) {
  const parapet::LogMel log_mel = parapet::LogMel::load(argv[2]);
  std::vector<std::string> bytes;
  std::vector<std::span<const float>> waveforms;
  for (int i = 5; i < argc; ++i) bytes.push_back(parapet::read_file(argv[i]));
  for (const std::string& one : bytes)
    waveforms.emplace_back(reinterpret_cast<const float*>(one.data()), one.size() / sizeof(float));
  const auto features =
      log_mel.extract(waveforms, std::string(argv[4]) == "chunk" ? parapet::MelPadding::kChunk
                                                                 : parapet::MelPadding::kLongest);
  put(argv[3], features.values);
  put(std::string(argv[3]) + ".mask", features.mask);
  std::cout << nlohmann::json{features.batch, features.mel_bins, features.frames} << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string what = argc > 3 ? argv[1] : "";
    if (what == "audio") return audio(argc, argv);
    if (what == "mel" && argc > 5) return mel(argc, argv);
  } catch (const parapet::Error& error) {
    std::cerr << error.what() << "\n";
    return error.exit_code();
  }
  std::cerr << "usage: see the head of this program's source\n";
  return 2;
}
