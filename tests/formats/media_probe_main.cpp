// What is read of a sound, for tests/conformance/test_media.py:
//   parapet_media_probe audio FILE OUT [RATE]      float32 samples to OUT, facts as JSON to stdout
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/formats/audio.h"

namespace {

int audio(int argc, char** argv) {
  parapet::AudioOptions options;
  if (argc > 4) options.sample_rate = std::stoll(argv[4]);
  const parapet::Audio audio = parapet::load_audio(argv[2], options);
  std::ofstream(argv[3], std::ios::binary)
      .write(reinterpret_cast<const char*>(audio.samples.data()),
             static_cast<std::streamsize>(audio.samples.size() * sizeof(float)));
  std::cout << nlohmann::json{{"codec", audio.codec},
                              {"container", audio.container},
                              {"stored_rate", audio.stored_rate},
                              {"stored_channels", audio.stored_channels},
                              {"damaged_packets", audio.damaged_packets}}
            << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const std::string what = argc > 3 ? argv[1] : "";
    if (what == "audio") return audio(argc, argv);
  } catch (const parapet::Error& error) {
    std::cerr << error.what() << "\n";
    return error.exit_code();
  }
  std::cerr << "usage: parapet_media_probe audio FILE OUT [RATE]\n";
  return 2;
}
