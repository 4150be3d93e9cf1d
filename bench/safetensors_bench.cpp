// Loading a safetensors file that is in the page cache: open + validate + touch every page, and
// open + copy
// every tensor into one reused buffer. One JSON line per figure.
//   safetensors_bench FILE [REPEATS]
// Peer: bench/peers/safetensors_peer.py, which makes the file and drives the comparison.
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>

#include "parapet/formats/safetensors.h"

namespace {

// GB/s of `pass` over a freshly opened archive: the best of `repeats`.
template <class Pass>
double gigabytes_per_second(const char* file, int repeats, Pass&& pass) {
  double best = 0;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const auto archive = parapet::TensorArchive::open(file);
    uint64_t bytes = 0, sum = 0;
    for (const auto& [name, view] : archive.tensors()) {
      sum += pass(view.data);
      bytes += view.data.size();
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    if (sum == 1) std::cerr << "";  // keeps the reads
    best = std::max(best, static_cast<double>(bytes) / took.count() / 1e9);
  }
  return best;
}

void print(const char* name, double value, const char* unit) {
  std::cout << nlohmann::json{{"name", name}, {"value", value}, {"unit", unit}} << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: safetensors_bench FILE [REPEATS]\n";
    return 2;
  }
  const int repeats = argc > 2 ? std::atoi(argv[2]) : 5;
  print("safetensors.touch_pages",
        gigabytes_per_second(argv[1], repeats,
                             [](auto bytes) {
                               uint64_t sum = 0;
                               for (size_t i = 0; i < bytes.size(); i += 4096)
                                 sum += static_cast<uint64_t>(bytes[i]);
                               return sum;
                             }),
        "GB/s");
  std::vector<std::byte> buffer;
  print("safetensors.copy_out",
        gigabytes_per_second(argv[1], repeats,
                             [&](auto bytes) {
                               buffer.resize(std::max(buffer.size(), bytes.size()));
                               std::memcpy(buffer.data(), bytes.data(), bytes.size());
                               return static_cast<uint64_t>(buffer[0]);
                             }),
        "GB/s");
}
