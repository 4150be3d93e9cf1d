#include "parapet/evaluation/group_tables.h"
#include "parapet/evaluation/report_html.h"

namespace parapet {
namespace {

// Two tables instead of one: what hardening should remove, and what it should keep.
Table comparison(const std::string& name, const std::string& title, const std::string& note,
                 const std::vector<std::pair<std::string, Report>>& runs,
                 const std::function<bool(const KeyMetric&)>& wanted) {
  Table table{name, title, note, {"run"}, {}};
  table.rows.push_back({"before"});
  for (const auto& [run, report] : runs) table.rows.push_back({run});
  for (const KeyMetric& key : key_metrics()) {
    if (!wanted(key)) continue;
    std::vector<Cell> column;
    std::string original = std::string("before.") + key.name;
    if (const size_t at = original.find("old_index."); at != std::string::npos)
      original.erase(at, 10);
    bool any = false;
    const Estimate* before = runs.empty() ? nullptr : runs.front().second.find(original);
    column.emplace_back(before != nullptr ? Cell(*before) : Cell(""));
    for (const auto& [run, report] : runs) {
      const Estimate* after = report.find(std::string("after.") + key.name);
      column.emplace_back(after != nullptr ? Cell(*after) : Cell(""));
      any = any || after != nullptr;
    }
    if (!any) continue;
    table.columns.emplace_back(key.title);
    for (size_t r = 0; r < column.size(); ++r) table.rows[r].push_back(std::move(column[r]));
  }
  return table;
}

}  // namespace

Report compare_runs(const std::vector<ComparedRun>& runs) {
  std::vector<std::pair<std::string, Report>> loaded;
  for (const auto& run : runs)
    loaded.emplace_back(run.name, load_report(run.folder / "report.json"));
  Report report;
  report.kind = "comparison";
  report.title = "Hardening runs side by side";
  for (const auto& [name, one] : loaded) {
    NamedEstimates metrics;
    for (const auto& [metric, estimate] : one.metrics)
      metrics.emplace_back(name + "." + metric, estimate);
    report.add(metrics);
    report.run[name] = one.run;
  }
  report.tables.push_back(comparison("harm", "Unsafe first results",
                                     "Share of queries answered with an unsafe item first. Lower "
                                     "is better.",
                                     loaded,
                                     [](const KeyMetric& key) { return key.lower_is_better; }));
  report.tables.push_back(comparison("kept", "What should be kept",
                                     "Right answers and closeness to the original model. Higher "
                                     "is better.",
                                     loaded,
                                     [](const KeyMetric& key) { return !key.lower_is_better; }));
  for (const auto& [name, one] : loaded)
    for (const auto& grid : one.grids) {
      if (&one != &loaded.front().second) break;
      report.grids.push_back(grid);
      report.grids.back().title += " (" + name + ")";
    }
  return report;
}

void write_comparison_report(const std::filesystem::path& folder,
                             const std::vector<ComparedRun>& runs) {
  write_report(folder, compare_runs(runs));
}

}  // namespace parapet
