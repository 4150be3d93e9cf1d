// Reports of several runs as one.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "parapet/evaluation/report.h"

namespace parapet {

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
