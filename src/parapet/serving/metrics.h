// Counters and histograms, as Prometheus reads them.
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/guard/decision.h"

namespace parapet::serving {

// Upper bounds of the buckets, in seconds.
inline constexpr std::array<double, 18> kBuckets = {0.001, 0.002, 0.003, 0.005, 0.0075, 0.01,
                                                    0.015, 0.02,  0.03,  0.05,  0.075,  0.1,
                                                    0.15,  0.25,  0.5,   1,     2.5,    10};

class Histogram {
 public:
  void add(double seconds);
  // Lines of NAME_bucket, NAME_sum, NAME_count; `labels` as `a="b"` or empty.
  void write(std::string& out, std::string_view name, const std::string& labels) const;

 private:
  std::array<int64_t, kBuckets.size() + 1> counts_{};
  double sum_ = 0;
  int64_t count_ = 0;
};

// `a="b",c="d"` with values escaped.
std::string metric_labels(const std::vector<std::pair<std::string, std::string>>& labels);

// One line of a metric that is read when asked for.
struct Gauge {
  std::string name, help, type, labels;
  double value = 0;
};

// Thread-safe.
class Metrics {
 public:
  // `seconds` < 0: refused unread, which says nothing about speed.
  void request(const std::string& endpoint, int status, double seconds);
  void decision(const std::string& endpoint, const guard::Decision& decision);
  void stage(const std::string& stage, double seconds);
  void refused(const std::string& reason);  // queue_full, expired, ...
  void reload(bool ok);
  // Everything above, then `gauges` (those of one name in a row).
  std::string text(const std::vector<Gauge>& gauges) const;

 private:
  using Counter = std::map<std::string, int64_t>;  // by labels
  mutable std::mutex mutex_;
  Counter requests_, decisions_, shadow_, flagged_, failures_, refused_, reloads_;
  std::map<std::string, Histogram> seconds_, stages_;
};

}  // namespace parapet::serving
