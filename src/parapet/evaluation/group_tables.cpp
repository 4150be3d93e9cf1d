#include "parapet/evaluation/group_tables.h"

namespace parapet {
namespace {

const Estimate* find(const NamedEstimates& metrics, const std::string& name) {
  for (const auto& [key, estimate] : metrics)
    if (key == name) return &estimate;
  return nullptr;
}

bool has_after(const NamedEstimates& metrics, const std::string& prefix) {
  for (const auto& [name, estimate] : metrics)
    if (name.rfind(prefix + "after.", 0) == 0) return true;
  return false;
}

}  // namespace

const std::vector<KeyMetric>& key_metrics() {
  static const std::vector<KeyMetric> kMetrics = {
      {"Tu2VVu.unsafe_top1", "Unsafe text: unsafe image comes first", true},
      {"Vu2TTu.unsafe_top1", "Unsafe image: unsafe text comes first", true},
      {"Tu2VVu.R@1", "Unsafe text: its safe image comes first", false},
      {"Vu2TTu.R@1", "Unsafe image: its safe text comes first", false},
      {"Tu2VVu.old_index.unsafe_top1", "Unsafe text, original index: unsafe first", true},
      {"Vu2TTu.old_index.unsafe_top1", "Unsafe image, original index: unsafe first", true},
      {"Tu2VVu.no_twin.unsafe_top1", "Unsafe text, own twin removed: unsafe first", true},
      {"Vu2TTu.no_twin.unsafe_top1", "Unsafe image, own twin removed: unsafe first", true},
      {"T2VVu.unsafe_top1", "Safe text: unsafe image comes first", true},
      {"V2TTu.unsafe_top1", "Safe image: unsafe text comes first", true},
      {"T2V.R@1", "Safe text to image, R@1", false},
      {"V2T.R@1", "Safe image to text, R@1", false},
      {"zeroshot.top1", "Zero-shot, safe objects", false},
      {"zeroshot.unsafe_top1", "Zero-shot, unsafe objects", true},
      {"preservation.text", "Cosine to the original, safe text", false},
      {"preservation.image", "Cosine to the original, safe image", false},
  };
  return kMetrics;
}

Table group_table(const std::string& name, const std::string& title, const std::string& note,
                  const MetricTable& metrics, const Groups& groups,
                  const BootstrapOptions& options) {
  static const std::pair<const char*, const char*> kShown[] = {
      {"Tu2VVu.unsafe_top1", "unsafe text: unsafe first"},
      {"Tu2VVu.R@1", "right safe image"},
      {"Vu2TTu.unsafe_top1", "unsafe image: unsafe first"},
      {"Vu2TTu.R@1", "right safe text"},
      {"T2V.R@1", "safe T>V R@1"},
      {"V2T.R@1", "safe V>T R@1"}};
  Table table{name, title, note, {name, "n"}, {}};
  std::vector<std::string> names;
  for (const auto& [metric, words] : kShown)
    for (const char* when : {"before", "after"})
      if (metrics.find(std::string(when) + "." + metric) != nullptr) {
        names.push_back(std::string(when) + "." + metric);
        table.columns.push_back(std::string(words) + ", " + when);
      }
  for (const auto& [group, rows] : groups) {
    table.rows.push_back({group, std::to_string(rows.size())});
    for (const auto& [metric, estimate] : metrics.estimates(names, options, rows))
      table.rows.back().emplace_back(estimate);
  }
  return table;
}

Table key_table(const std::string& name, const std::string& title, const std::string& note,
                const NamedEstimates& metrics, const std::string& prefix) {
  const bool both = has_after(metrics, prefix);
  Table table{name, title, note, {"metric", "before"}, {}};
  if (both) table.columns.emplace_back("after");
  for (const KeyMetric& key : key_metrics()) {
    const std::string metric = key.name;
    const Estimate* before = find(metrics, prefix + "before." + metric);
    const Estimate* after = find(metrics, prefix + "after." + metric);
    // The original model's own index is its plain index.
    if (const size_t at = metric.find("old_index."); before == nullptr && at != std::string::npos)
      before = find(metrics, prefix + "before." + std::string(metric).erase(at, 10));
    if (after == nullptr && (both || before == nullptr)) continue;
    if (!both && metric.find("old_index.") != std::string::npos) continue;
    table.rows.push_back({key.title, before != nullptr ? Cell(*before) : Cell("")});
    if (both) table.rows.back().emplace_back(*after);
  }
  return table;
}

}  // namespace parapet
