// Image input path on one thread, milliseconds of processor time per image
// (best of REPEATS), one JSON line per
// figure: exact decode, scaled decode, resize + crop to 224, normalise.
//   image_bench REPEATS FILE...
// Peer: bench/peers/image_peer.py, which makes the files and drives the comparison with Pillow.
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "parapet/core/files.h"
#include "parapet/formats/image.h"
#include "parapet/formats/image_processor.h"

namespace {

// Processor time, so that a busy machine does not show in single-thread figures.
double cpu_milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

template <class Fn>
void measure(const std::string& name, int repeats, Fn&& fn) {
  double best = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const double start = cpu_milliseconds();
    fn();
    best = std::min(best, cpu_milliseconds() - start);
  }
  std::cout << nlohmann::json{{"name", name}, {"value", best}, {"unit", "ms"}} << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  using namespace parapet;
  if (argc < 3) {
    std::cerr << "usage: image_bench REPEATS FILE...\n";
    return 2;
  }
  const int repeats = std::atoi(argv[1]);
  const auto processor = ImageProcessor::clip_default(224);
  for (int i = 2; i < argc; ++i) {
    const std::string file = argv[i];
    const std::string name = "image." + std::filesystem::path(file).filename().string();
    const std::string bytes = read_file(file);
    DecodeOptions scaled;
    scaled.scale_for = processor.scale_hint();
    Image image, small;
    std::vector<float> chw(3 * 224 * 224);
    measure(name + ".decode", repeats, [&] { image = decode_image(bytes, file); });
    measure(name + ".resize", repeats, [&] { small = processor.to_pixels(image); });
    measure(name + ".normalise", repeats, [&] { processor.normalise(small, chw.data()); });
    measure(name + ".exact", repeats, [&] {
      processor.normalise(processor.to_pixels(decode_image(bytes, file)), chw.data());
    });
    measure(name + ".scaled", repeats, [&] {
      processor.normalise(processor.to_pixels(decode_image(bytes, file, scaled)), chw.data());
    });
  }
}
