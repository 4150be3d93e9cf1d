// parapet report: pages from what runs left behind.
#include <nlohmann/json.hpp>

#include "parapet/cli/command.h"
#include "parapet/core/error.h"
#include "parapet/evaluation/compare_runs.h"
#include "parapet/evaluation/report.h"
#include "parapet/evaluation/report_html.h"

namespace parapet::cli {
namespace {

namespace fs = std::filesystem;

// "name=folder", or a folder that gives its own name.
ComparedRun parse_run(const std::string& text) {
  if (const size_t at = text.find('='); at != std::string::npos && at > 0)
    return {text.substr(0, at), text.substr(at + 1)};
  fs::path folder(text);
  if (!folder.has_filename()) folder = folder.parent_path();
  return {folder.filename().string(), folder};
}

class ReportCommand final : public Command {
 public:
  void visit(OptionList& list) override {
    list.add("run", run_, "run directory: rewrites report.html from report.json and metrics.jsonl");
    list.add("compare", compare_, "run directories, or name=directory, to show side by side");
    list.add("out", out_, "folder for the comparison's report.json and report.html");
  }
  void validate(Problems& problems) const override {
    problems.require(run_.empty() != compare_.empty(), "--run, --compare",
                     "give exactly one of them");
    problems.require(compare_.empty() || !out_.empty(), "--out", "is needed with --compare");
  }

  nlohmann::json run(const Session& session) override {
    const fs::path folder = compare_.empty() ? fs::path(run_) : fs::path(out_);
    if (compare_.empty()) {
      write_report(folder, load_report(folder / "report.json"));
    } else {
      std::vector<ComparedRun> runs;
      for (const auto& text : compare_) runs.push_back(parse_run(text));
      write_comparison_report(folder, runs);
    }
    const std::string page = (folder / "report.html").string();
    session.print("report: " + page);
    return {{"report", page}};
  }

 private:
  std::string run_, out_;
  std::vector<std::string> compare_;
};

}  // namespace

CommandEntry report_command() {
  return {"report", "report pages from finished runs",
          "Rewrites a run's report.html, or puts several runs side by side.\n\nExamples:\n"
          "  parapet report --run out/demo/safe_clip\n"
          "  parapet report --compare ordered=out/a,published=out/b --out out/compared",
          [] { return std::make_unique<ReportCommand>(); }};
}

}  // namespace parapet::cli
