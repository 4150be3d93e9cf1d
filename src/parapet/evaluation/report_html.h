// The page of a report: one HTML file with its style, plots and pictures inside, no scripts, no
// requests. Reads on a phone, in the dark and on paper.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "parapet/evaluation/report.h"

namespace parapet {

// Loss terms from a run's metrics.jsonl; empty when the file is missing. Takes numeric fields of
// lines with a "step", also those inside an object "terms"; at most 400 points per curve.
std::vector<Curve> load_curves(const std::filesystem::path& metrics);

std::string report_html(const Report& report, const std::vector<Curve>& curves = {});

// Several runs side by side.
struct ComparedRun {
  std::string name;              // row title, e.g. "ordered"
  std::filesystem::path folder;  // with report.json
};
// comparison.json-compatible Report over the runs: one row per run (and "before" from the first),
// key metrics as columns. DataError names a report.json that is missing or wrong.
Report compare_runs(const std::vector<ComparedRun>& runs);
// compare_runs, written as report.json and report.html in `folder`.
void write_comparison_report(const std::filesystem::path& folder,
                             const std::vector<ComparedRun>& runs);

}  // namespace parapet
