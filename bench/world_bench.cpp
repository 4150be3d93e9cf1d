// Scenes per second from cached glyphs. Prints one JSON line; arguments: assets folder, cache
// folder.
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/threads.h"
#include "parapet/data/world.h"

namespace {

// Items per second of fn(i) over `count` items on `threads` threads.
double rate(int64_t count, int64_t threads, const std::function<void(int64_t)>& fn) {
  const auto start = std::chrono::steady_clock::now();
  parapet::parallel_items(count, threads, fn);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  return static_cast<double>(count) / took.count();
}

}  // namespace

int main(int argc, char** argv) {
  using namespace parapet;
  try {
    GlyphOptions glyphs;
    if (argc > 1) glyphs.assets = argv[1];
    if (argc > 2) glyphs.cache = argv[2];
    const SampleWorld world({}, GlyphAtlas::load(glyphs));
    nlohmann::json result;
    for (const int64_t threads : {1, 2}) {
      const std::string key = "threads_" + std::to_string(threads);
      result[key]["captions_per_s"] =
          rate(20000, threads, [&](int64_t i) { world.caption(WorldSplit::kTrain, i); });
      // A quadruplet is two scenes.
      result[key]["quadruplet_scenes_per_s"] =
          2 * rate(10000, threads, [&](int64_t i) { world.quadruplet(WorldSplit::kTrain, i); });
      result[key]["encoded_scenes_per_s"] = rate(5000, threads, [&](int64_t i) {
        encode_png(world.caption(WorldSplit::kTrain, i).image, 1);
      });
    }
    std::cout << result.dump() << "\n";
    return 0;
  } catch (const Error& error) {
    std::cerr << error.what() << "\n";
    return error.exit_code();
  }
}
