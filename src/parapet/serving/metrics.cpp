#include "parapet/serving/metrics.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace parapet::serving {
namespace {

std::string number(double value) {
  char text[32];
  if (value == std::floor(value) && std::fabs(value) < 1e15)
    std::snprintf(text, sizeof text, "%.0f", value);
  else
    std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

void write_head(std::string& out, std::string_view name, std::string_view help,
                std::string_view type) {
  out += "# HELP " + std::string(name) + " " + std::string(help) + "\n# TYPE " + std::string(name) +
         " " + std::string(type) + "\n";
}

void write_line(std::string& out, std::string_view name, const std::string& labels, double value) {
  out += name;
  if (!labels.empty()) out += "{" + labels + "}";
  out += " " + number(value) + "\n";
}

void write_counter(std::string& out, std::string_view name, std::string_view help,
                   const std::map<std::string, int64_t>& values) {
  write_head(out, name, help, "counter");
  for (const auto& [labels, value] : values)
    write_line(out, name, labels, static_cast<double>(value));
}

void write_histograms(std::string& out, std::string_view name, std::string_view help,
                      const std::map<std::string, Histogram>& values) {
  write_head(out, name, help, "histogram");
  for (const auto& [labels, histogram] : values) histogram.write(out, name, labels);
}

}  // namespace

void Histogram::add(double seconds) {
  const auto bucket = std::lower_bound(kBuckets.begin(), kBuckets.end(), seconds);
  ++counts_[static_cast<size_t>(bucket - kBuckets.begin())];
  sum_ += seconds;
  ++count_;
}

void Histogram::write(std::string& out, std::string_view name, const std::string& labels) const {
  const std::string base = std::string(name) + "_bucket";
  const std::string before = labels.empty() ? "" : labels + ",";
  int64_t below = 0;
  for (size_t i = 0; i < kBuckets.size(); ++i) {
    below += counts_[i];
    write_line(out, base, before + "le=\"" + number(kBuckets[i]) + "\"",
               static_cast<double>(below));
  }
  write_line(out, base, before + "le=\"+Inf\"", static_cast<double>(count_));
  write_line(out, std::string(name) + "_sum", labels, sum_);
  write_line(out, std::string(name) + "_count", labels, static_cast<double>(count_));
}

std::string metric_labels(const std::vector<std::pair<std::string, std::string>>& labels) {
  std::string text;
  for (const auto& [name, value] : labels) {
    if (!text.empty()) text += ",";
    text += name + "=\"";
    for (const char c : value) {
      if (c == '\\' || c == '"') text += '\\';
      if (c == '\n')
        text += "\\n";
      else
        text += c;
    }
    text += "\"";
  }
  return text;
}

void Metrics::request(const std::string& endpoint, int status, double seconds) {
  const std::lock_guard lock(mutex_);
  ++requests_[metric_labels({{"endpoint", endpoint}, {"status", std::to_string(status)}})];
  if (seconds >= 0) seconds_[metric_labels({{"endpoint", endpoint}})].add(seconds);
}

void Metrics::decision(const std::string& endpoint, const guard::Decision& decision) {
  const std::lock_guard lock(mutex_);
  ++decisions_[metric_labels({{"endpoint", endpoint},
                              {"action", std::string(guard::action_name(decision.action))},
                              {"review", decision.review ? "true" : "false"},
                              {"complete", decision.complete ? "true" : "false"}})];
  if (decision.shadow_action != decision.action)
    ++shadow_[metric_labels({{"action", std::string(guard::action_name(decision.shadow_action))}})];
  for (const auto& result : decision.categories) {
    if (result.flagged())
      ++flagged_[metric_labels(
          {{"category", result.category},
           {"modality", std::string(guard::modality_name(result.decided_by))}})];
  }
  for (const auto& failure : decision.not_scanned)
    ++failures_[metric_labels({{"reason", failure.reason}})];
  for (const auto& timing : decision.timings)
    stages_[metric_labels({{"stage", timing.level}})].add(timing.milliseconds / 1000);
}

void Metrics::stage(const std::string& stage, double seconds) {
  const std::lock_guard lock(mutex_);
  stages_[metric_labels({{"stage", stage}})].add(seconds);
}

void Metrics::refused(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  ++refused_[metric_labels({{"reason", reason}})];
}

void Metrics::reload(bool ok) {
  const std::lock_guard lock(mutex_);
  ++reloads_[metric_labels({{"result", ok ? "ok" : "refused"}})];
}

std::string Metrics::text(const std::vector<Gauge>& gauges) const {
  std::string out;
  {
    const std::lock_guard lock(mutex_);
    write_counter(out, "parapet_requests_total", "Requests answered.", requests_);
    write_histograms(out, "parapet_request_seconds", "From a request's last byte to its reply.",
                     seconds_);
    write_histograms(out, "parapet_stage_seconds", "Time per stage of a request.", stages_);
    write_counter(out, "parapet_decisions_total", "Decisions of the guard.", decisions_);
    write_counter(out, "parapet_shadow_decisions_total",
                  "Decisions that would differ were every rule enforced.", shadow_);
    write_counter(out, "parapet_flagged_total", "Categories flagged, by what decided.", flagged_);
    write_counter(out, "parapet_scan_failures_total", "Parts that could not be scanned.",
                  failures_);
    write_counter(out, "parapet_refused_total", "Requests refused for lack of room or time.",
                  refused_);
    write_counter(out, "parapet_policy_reloads_total", "Policy reloads.", reloads_);
  }
  std::string last;
  for (const Gauge& gauge : gauges) {
    if (gauge.name != last) write_head(out, gauge.name, gauge.help, gauge.type);
    last = gauge.name;
    write_line(out, gauge.name, gauge.labels, gauge.value);
  }
  return out;
}

}  // namespace parapet::serving
