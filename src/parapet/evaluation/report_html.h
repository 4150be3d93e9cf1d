// The page of a report: one HTML file with its style, plots and pictures inside, no scripts, no
// requests. Reads on a phone, in the dark and on paper.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "parapet/evaluation/report.h"

namespace parapet {

std::string report_html(const Report& report, const std::vector<Curve>& curves = {});

// report.json and report.html in `folder` (made if missing); loss curves from `folder`'s
// metrics.jsonl when there is one.
void write_report(const std::filesystem::path& folder, const Report& report);

}  // namespace parapet
