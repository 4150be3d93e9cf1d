// Plots as inline SVG, coloured by the page's CSS variables (--c0 ... --c9, --ink, --line).
#pragma once
#include <string>
#include <vector>

#include "parapet/evaluation/curves.h"
#include "parapet/metrics/estimate.h"

namespace parapet {

// Lines over steps with axes and a grid. On a logarithmic axis values <= 0 are left out.
std::string line_plot(const std::vector<Curve>& curves, bool log_scale);
// Coloured names for line_plot, as HTML.
std::string line_legend(const std::vector<Curve>& curves);

// A plot of shares with axes, a grid and, where asked for, the diagonal.
std::string share_plot(const SharePlot& plot);

// One group of bars per label: `series` values each in 0..1 with an interval.
struct BarSeries {
  std::string name;
  std::vector<Estimate> values;  // one per label
};
std::string bar_plot(const std::string& title, const std::vector<std::string>& labels,
                     const std::vector<BarSeries>& series);

}  // namespace parapet
