// Streamed exact top-k over random unit vectors, as JSON on stdout.
//   retrieval_bench QUERIES GALLERY WIDTH K REPEATS [auto|int8|fp32]
// Peer: bench/peers/retrieval_peer.py (full matrix in numpy and torch), which also drives the
// interleaved comparison.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "parapet/evaluation/topk.h"

namespace {

// Peak resident memory. Not getrusage: that one starts from the parent's peak across exec.
int64_t peak_mb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::atoll(line.c_str() + 6) / 1024;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const auto number = [&](int i, int64_t fallback) {
    return argc > i ? static_cast<int64_t>(std::atoll(argv[i])) : fallback;
  };
  const int64_t n = number(1, 10000), m = number(2, 100000), d = number(3, 768);
  const int64_t k = number(4, 20), repeats = number(5, 3);
  parapet::TopKOptions options;
  if (argc > 6) options.filter = argv[6];
  at::manual_seed(0);
  const auto unit = [&](int64_t rows) {
    at::Tensor x = at::randn({rows, d});
    return x.div_(x.norm(2, 1, true));
  };
  const at::Tensor queries = unit(n), gallery = unit(m);
  std::vector<double> seconds;
  parapet::TopKStats stats;
  int64_t checksum = 0;
  for (int64_t i = 0; i < repeats; ++i) {
    const parapet::TopK found = parapet::top_k(queries, gallery, k, options);
    seconds.push_back(found.stats.seconds);
    stats = found.stats;
    checksum = found.indices.sum().item<int64_t>();
  }
  std::sort(seconds.begin(), seconds.end());
  const nlohmann::json out = {
      {"name", "retrieval"},
      {"queries", n},
      {"gallery", m},
      {"width", d},
      {"k", k},
      {"filter", options.filter},
      {"threads", at::get_num_threads()},
      {"seconds", seconds[seconds.size() / 2]},
      {"rescored_share", static_cast<double>(stats.rescored) / static_cast<double>(stats.pairs)},
      {"checksum", checksum},
      {"peak_rss_mb", peak_mb()}};
  std::printf("%s\n", out.dump().c_str());
  return 0;
}
