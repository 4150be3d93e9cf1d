// Small value classes that turn a stream of measurements into numbers to show.
#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace parapet {

// Weighted mean.
class Average {
 public:
  void add(double value, double weight = 1) {
    sum_ += value * weight;
    weight_ += weight;
  }
  double value() const { return weight_ > 0 ? sum_ / weight_ : 0; }

 private:
  double sum_ = 0, weight_ = 0;
};

// Means by name, in the order names were first seen.
class TermAverages {
 public:
  void add(const std::string& name, double value) {
    for (auto& [known, average] : terms_)
      if (known == name) return average.add(value);
    terms_.emplace_back(name, Average());
    terms_.back().second.add(value);
  }
  std::vector<std::pair<std::string, double>> values() const {
    std::vector<std::pair<std::string, double>> list;
    for (const auto& [name, average] : terms_) list.emplace_back(name, average.value());
    return list;
  }

 private:
  std::vector<std::pair<std::string, Average>> terms_;
};

// Seconds since construction or the last restart.
class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  void restart() { start_ = Clock::now(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

}  // namespace parapet
