// Encoder speed, driven from stdin so that a peer script can alternate with it:
//
//   encoder_bench MODEL BACKEND PRECISION [STREAMS] [THREADS] [DEVICE]
//
// prints {"ready": ...} and then answers each line "images BATCH CALLS" or "texts BATCH CALLS" with
// one JSON line: items per second, milliseconds per call (median, best), processor milliseconds per
// item (with one thread, the figure that holds on a busy machine). Images are 224 x 224 (the
// model's size) in memory, so that decoding is not measured.
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "parapet/core/random.h"
#include "parapet/engine/encoder/open_encoder.h"
#include "parapet/models/clip/clip_config.h"

namespace {

using Clock = std::chrono::steady_clock;

parapet::Image noise(int64_t size, parapet::Random& random) {
  parapet::Image image{size, size, {}};
  image.rgb.resize(static_cast<size_t>(size * size * 3));
  for (auto& byte : image.rgb) byte = static_cast<uint8_t>(random.next() >> 56);
  return image;
}

std::string caption(parapet::Random& random) {
  static const std::vector<std::string> kWords = {"a",     "photo", "of",   "two",  "dogs",
                                                  "on",    "the",   "red",  "boat", "near",
                                                  "water", "with",  "tree", "man",  "street"};
  std::string text;
  const int64_t words = random.between(8, 14);
  for (int64_t i = 0; i < words; ++i) text += (i > 0 ? " " : "") + random.pick(kWords);
  return text;
}

double processor_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double seconds_of(const std::function<void()>& call) {
  const auto start = Clock::now();
  call();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

nlohmann::json measure(parapet::Encoder& encoder, const std::string& what, int64_t batch,
                       int64_t calls, int64_t size) {
  parapet::Random random = parapet::Random::named(0, "bench." + what);
  std::vector<parapet::Image> images;
  std::vector<std::string> texts;
  for (int64_t i = 0; i < batch; ++i) {
    if (what == "images") images.push_back(noise(size, random));
    if (what == "texts") texts.push_back(caption(random));
  }
  std::vector<double> times, processor;
  for (int64_t i = 0; i < calls; ++i) {
    const double before = processor_seconds();
    times.push_back(seconds_of([&] {
      if (what == "images")
        encoder.encode_images(std::span<const parapet::Image>(images), {});
      else
        encoder.encode_texts(texts, {});
    }));
    processor.push_back(processor_seconds() - before);
  }
  std::sort(times.begin(), times.end());
  std::sort(processor.begin(), processor.end());
  const double median = times[times.size() / 2];
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return {
      {"per_second", static_cast<double>(batch) / median},
      {"median_ms", median * 1e3},
      {"best_ms", times.front() * 1e3},
      {"processor_ms_per_item", processor[processor.size() / 2] * 1e3 / static_cast<double>(batch)},
      {"peak_memory_mb", static_cast<double>(usage.ru_maxrss) / 1024}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: encoder_bench MODEL BACKEND PRECISION [STREAMS] [THREADS] [DEVICE]\n";
    return 2;
  }
  try {
    parapet::EncoderOptions options;
    options.backend = argv[2];
    options.precision = argv[3];
    options.streams = argc > 4 ? std::stoll(argv[4]) : 0;
    options.threads = argc > 5 ? std::stoll(argv[5]) : 0;
    options.device = argc > 6 ? argv[6] : "cpu";
    options.batch_images = options.batch_texts = 1024;
    const auto start = Clock::now();
    const auto encoder = parapet::open_encoder(argv[1], options, {});
    const int64_t size = parapet::ClipConfig::load(argv[1]).vision.image_size;
    const double load = std::chrono::duration<double>(Clock::now() - start).count();
    std::cout << nlohmann::json{{"ready", true}, {"load_seconds", load}}.dump() << std::endl;
    for (std::string line; std::getline(std::cin, line);) {
      std::istringstream words(line);
      std::string what;
      int64_t batch = 1, calls = 1;
      words >> what >> batch >> calls;
      std::cout << measure(*encoder, what, batch, calls, size).dump() << std::endl;
    }
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
  return 0;
}
