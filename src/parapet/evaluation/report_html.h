// The page of a report: one HTML file with its style, plots and pictures inside, no scripts, no
// requests. Reads on a phone, in the dark and on paper.
#pragma once
#include <string>
#include <vector>

#include "parapet/evaluation/report.h"

namespace parapet {

std::string report_html(const Report& report, const std::vector<Curve>& curves = {});

}  // namespace parapet
