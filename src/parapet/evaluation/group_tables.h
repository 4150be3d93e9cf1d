// Before/after tables: one row per metric, or one row per group of items.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "parapet/evaluation/metric_table.h"
#include "parapet/evaluation/report.h"

namespace parapet {

// A metric a reader looks for first, with plain words for it.
struct KeyMetric {
  const char* name;  // without "before." or "after."
  const char* title;
  bool lower_is_better;
};
// In reading order; names that a report lacks are left out by the callers.
const std::vector<KeyMetric>& key_metrics();

// Items of each group, in group order.
using Groups = std::map<std::string, std::vector<int64_t>>;

// One row per group: its size, then before and after of the headline retrieval metrics (only
// "before" when the table has no "after").
Table group_table(const std::string& name, const std::string& title, const std::string& note,
                  const MetricTable& metrics, const Groups& groups,
                  const BootstrapOptions& options);

// Rows = key metrics that `metrics` has under `prefix`; columns before, after.
Table key_table(const std::string& name, const std::string& title, const std::string& note,
                const NamedEstimates& metrics, const std::string& prefix);

}  // namespace parapet
