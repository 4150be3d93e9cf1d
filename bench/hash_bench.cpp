// PDQ and the hash index. Prints JSON: milliseconds per picture, look-ups per second among COUNT
// hashes at 31 bits (single and all 8 orientations), and the plain scan beside them.
//   hash_bench COUNT
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <nlohmann/json.hpp>

#include "parapet/core/random.h"
#include "parapet/formats/image_hash.h"
#include "parapet/guard/hash_index.h"

namespace {

// CPU time: other work on the machine does not count.
struct Clock {
  using time_point = std::clock_t;
  static time_point now() { return std::clock(); }
};

double seconds_since(Clock::time_point start) {
  return static_cast<double>(Clock::now() - start) / CLOCKS_PER_SEC;
}

parapet::Image noise(int64_t width, int64_t height, parapet::Random& random) {
  parapet::Image image{width / 8, height / 8, {}};
  for (int64_t i = 0; i < image.width * image.height * 3; ++i)
    image.rgb.push_back(static_cast<uint8_t>(random.below(256)));
  return parapet::resize_bicubic(image, width, height);
}

}  // namespace

int main(int argc, char** argv) {
  const size_t count = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  parapet::Random random = parapet::Random::named(1, "bench.hashes");
  nlohmann::json out = {{"hashes", count}};
  const parapet::Image vga = noise(640, 480, random);
  auto start = Clock::now();
  int quality = 0;
  for (int i = 0; i < 100; ++i) quality += parapet::pdq_variants(vga).quality;
  out["pdq_vga_ms"] = seconds_since(start) * 10;
  out["quality"] = quality / 100;

  std::vector<parapet::PdqHash> hashes(count);
  for (auto& hash : hashes)
    for (auto& word : hash.words) word = random.next();
  start = Clock::now();
  const parapet::guard::HashIndex index(hashes);
  out["build_seconds"] = seconds_since(start);
  int64_t found = 0;
  int queries = 0;
  start = Clock::now();
  while (seconds_since(start) < 1) {
    parapet::PdqHash query = hashes[random.below(count)];
    for (int bit = 0; bit < 31; ++bit)
      query.words[random.below(4)] ^= uint64_t{1} << random.below(64);
    found += index.nearest(query, 31).index >= 0;
    ++queries;
  }
  out["lookups_per_second"] = queries / seconds_since(start);
  out["found_share"] = static_cast<double>(found) / queries;
  start = Clock::now();
  int nearest = 256;
  for (size_t i = 1; i < count; ++i)
    nearest = std::min(nearest, parapet::pdq_distance(hashes[0], hashes[i]));
  out["scan_per_second"] = 1 / std::max(1e-9, seconds_since(start));
  out["nearest_of_a_scan"] = nearest;
  std::cout << out << "\n";
  return 0;
}
