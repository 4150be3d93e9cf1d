#include "parapet/evaluation/compare_runs.h"
#include "parapet/evaluation/group_tables.h"
#include "parapet/evaluation/report_html.h"

namespace parapet {
namespace {

using NamedReport = std::pair<std::string, const Report*>;

// One row of a comparison: a run's "after" numbers, or a model's own "before".
struct Row {
  std::string title, prefix;
  const Report* report;
};

bool has_after(const Report& report) {
  for (const auto& [name, estimate] : report.metrics)
    if (name.rfind("after.", 0) == 0) return true;
  return false;
}

// An original model's own index is its plain index.
const Estimate* find(const Row& row, std::string metric) {
  if (const size_t at = metric.find("old_index.");
      row.prefix == "before." && at != std::string::npos)
    metric.erase(at, 10);
  return row.report->find(row.prefix + metric);
}

Table comparison(const std::string& name, const std::string& title, const std::string& note,
                 const std::vector<Row>& rows, bool lower_is_better) {
  Table table{name, title, note, {"run"}, {}};
  for (const Row& row : rows) table.rows.push_back({row.title});
  for (const KeyMetric& key : key_metrics()) {
    if (key.lower_is_better != lower_is_better) continue;
    bool any = false;
    for (const Row& row : rows) any = any || find(row, key.name) != nullptr;
    if (!any) continue;
    table.columns.emplace_back(key.title);
    for (size_t r = 0; r < rows.size(); ++r) {
      const Estimate* value = find(rows[r], key.name);
      table.rows[r].push_back(value != nullptr ? Cell(*value) : Cell(""));
    }
  }
  return table;
}

// The original model comes first: from a run that measured only it, else from the first run.
std::vector<Row> comparison_rows(const std::vector<NamedReport>& runs) {
  std::vector<Row> rows;
  for (const auto& [name, report] : runs)
    if (!has_after(*report)) rows.push_back({name + " (original)", "before.", report});
  if (rows.empty() && !runs.empty()) rows.push_back({"before", "before.", runs.front().second});
  for (const auto& [name, report] : runs)
    if (has_after(*report)) rows.push_back({name, "after.", report});
  return rows;
}

// What matters of guard reports: one row per measure, a column per run and split.
Table guard_table(const std::vector<NamedReport>& guards) {
  static const std::pair<const char*, const char*> kMeasures[] = {
      {"image.auroc", "AUROC, image"},
      {"text.auroc", "AUROC, text"},
      {"explicit.joint.auroc", "AUROC, pair, explicit harm"},
      {"implicit.joint.auroc", "AUROC, pair, each half safe alone"},
      {"implicit.image.auroc", "the same from the image alone"},
      {"implicit.text.auroc", "the same from the text alone"},
      {"contradiction.auroc", "AUROC, contradiction"},
      {"joint.deployed.recall", "recall, pair, at its threshold"},
      {"joint.deployed.fpr", "false alarms, pair, at its threshold"},
      {"ece", "calibration error (ECE)"},
      {"conformal.review_share", "sent to review"}};
  Table table{"guard",
              "Guard heads",
              "Harm found in images, texts and pairs; the threshold allows 1 % false alarms on the "
              "calibration split.",
              {"measure"},
              {}};
  for (const auto& [name, report] : guards)
    for (const char* split : {"test", "held style"})
      table.columns.push_back(guards.size() > 1 ? name + ", " + split : split);
  for (const auto& [metric, title] : kMeasures) {
    std::vector<Cell> row = {title};
    bool any = false;
    for (const auto& [name, report] : guards)
      for (const char* prefix : {"", "held_style."}) {
        const Estimate* value = report->find(std::string(prefix) + metric);
        any = any || value != nullptr;
        row.push_back(value != nullptr ? Cell(*value) : Cell(""));
      }
    if (any) table.rows.push_back(std::move(row));
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
  report.title = "Runs side by side";
  for (const auto& [name, one] : loaded) {
    NamedEstimates metrics;
    for (const auto& [metric, estimate] : one.metrics)
      metrics.emplace_back(name + "." + metric, estimate);
    report.add(metrics);
    report.run[name] = one.run;
  }
  // Guards detect instead of steering results: they have a table of their own.
  std::vector<NamedReport> guards, hardened;
  for (const auto& [name, one] : loaded)
    (one.kind == "guard" ? guards : hardened).emplace_back(name, &one);
  const std::vector<Row> rows = comparison_rows(hardened);
  report.tables.push_back(comparison("harm", "Unsafe first results",
                                     "Share of queries answered with an unsafe item first, and of "
                                     "unsafe objects recognised. Lower is better.",
                                     rows, true));
  report.tables.push_back(comparison("kept", "What should be kept",
                                     "Right answers and closeness to the original model. Higher "
                                     "is better.",
                                     rows, false));
  if (!guards.empty()) report.tables.push_back(guard_table(guards));
  for (const auto& [name, guard] : guards)
    for (SharePlot plot : guard->plots) {
      if (guards.size() > 1) plot.title += " (" + name + ")";
      report.plots.push_back(std::move(plot));
    }
  std::erase_if(report.tables, [](const Table& table) { return table.columns.size() < 2; });
  for (const auto& [name, one] : hardened) {
    if (!has_after(*one)) continue;
    for (ExampleGrid grid : one->grids) {
      grid.title += " (" + name + ")";
      report.grids.push_back(std::move(grid));
    }
    break;
  }
  return report;
}

void write_comparison_report(const std::filesystem::path& folder,
                             const std::vector<ComparedRun>& runs) {
  Report report = compare_runs(runs);
  for (const ComparedRun& run : runs)
    if (std::filesystem::exists(run.folder / "report.html"))
      report.pages.push_back(
          {run.name,
           std::filesystem::proximate(run.folder / "report.html", folder).generic_string()});
  write_report(folder, report);
}

}  // namespace parapet
