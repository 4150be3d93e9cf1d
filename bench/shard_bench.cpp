// Quadruplets a second that one core prepares for training: both JPEGs of each (members next to
// each other) are found in a tar shard, decoded with JPEG's scaled decode, resized and cropped to
// 224 x 224 and normalised. Processor time, best of REPEATS; one JSON line per shard.
//   shard_bench REPEATS SHARD...
// Peer: bench/peers/shard_peer.py, which makes the shards.
#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "parapet/formats/image.h"
#include "parapet/formats/image_processor.h"
#include "parapet/formats/tar.h"

namespace {

using namespace parapet;

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

void run(int repeats, const std::string& shard) {
  std::vector<std::string> locations;
  TarReader tar(shard);
  for (TarMember member; tar.next(member);) locations.push_back(shard + "#" + member.name);
  const auto processor = ImageProcessor::clip_default(224);
  DecodeOptions decode;
  decode.scale_for = processor.scale_hint();
  std::vector<float> chw(size_t{3} * 224 * 224);
  double best = 1e9;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    const double start = cpu_seconds();
    for (const std::string& location : locations)
      processor.normalise(processor.to_pixels(load_image(location, decode)), chw.data());
    best = std::min(best, cpu_seconds() - start);
  }
  const auto quadruplets = static_cast<double>(locations.size()) / 2;
  std::cout << nlohmann::json{{"name", std::filesystem::path(shard).stem().string()},
                              {"value", quadruplets / best},
                              {"unit", "quadruplets/s"}}
            << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: shard_bench REPEATS SHARD...\n";
    return 2;
  }
  for (int i = 2; i < argc; ++i) run(std::atoi(argv[1]), argv[i]);
}
