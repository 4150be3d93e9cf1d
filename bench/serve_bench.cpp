// Load on an HTTP server: serve_bench PORT PATH REQUESTS.jsonl CONNECTIONS RATE SECONDS
// One JSON body per line, asked in turn. RATE 0 = closed loop; else requests per second, and a
// request's time runs from when it was due. Prints one JSON line.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>

#include "serve_load.h"

int main(int argc, char** argv) {
  using namespace parapet::bench;
  if (argc != 7) {
    std::fprintf(stderr, "serve_bench PORT PATH REQUESTS.jsonl CONNECTIONS RATE SECONDS\n");
    return 2;
  }
  std::vector<std::string> requests;
  std::ifstream file(argv[3]);
  for (std::string line; std::getline(file, line);)
    requests.push_back("POST " + std::string(argv[2]) +
                       " HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                       "Content-Length: " +
                       std::to_string(line.size()) + "\r\n\r\n" + line);
  if (requests.empty()) {
    std::fprintf(stderr, "serve_bench: %s holds no request\n", argv[3]);
    return 3;
  }
  try {
    const LoadResult result = run_load(static_cast<uint16_t>(std::atoi(argv[1])), requests,
                                       std::atoi(argv[4]), std::atof(argv[5]), std::atof(argv[6]));
    std::printf(
        "{\"count\": %zu, \"errors\": %lld, \"per_second\": %.2f, \"p50_ms\": %.2f, "
        "\"p90_ms\": %.2f, \"p99_ms\": %.2f, \"max_ms\": %.2f}\n",
        result.milliseconds.size(), static_cast<long long>(result.errors),
        static_cast<double>(result.milliseconds.size()) / result.seconds, result.at(0.5),
        result.at(0.9), result.at(0.99), result.at(1));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "serve_bench: %s\n", error.what());
    return 1;
  }
}
