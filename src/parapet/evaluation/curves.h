// Lines of a plot: read from a run, or measured.
#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace parapet {

// One line of a plot.
struct Curve {
  std::string name;
  std::vector<std::pair<double, double>> points;  // (x, y), finite
};

// Curves of shares against shares, both on 0..1: ROC, reliability.
struct SharePlot {
  std::string name;   // key in report.json, e.g. "roc"
  std::string title;  // shown above it
  std::string note;   // one or two sentences; may be empty
  std::string x_title, y_title;
  bool log_x = false;     // x on a logarithmic axis from 0.001
  bool diagonal = false;  // y = x beside the curves
  std::vector<Curve> curves;
};

// Loss terms from a run's metrics.jsonl; empty when the file is missing. Takes numeric fields of
// lines with a "step", also those inside an object "terms"; at most 400 points per curve.
std::vector<Curve> load_curves(const std::filesystem::path& metrics);

}  // namespace parapet
