// The run directory: one folder holds everything a run makes.
//
//   run.json  config.toml  metrics.jsonl  checkpoints/  model/  adapter/  report.{json,html}
#pragma once
#include <filesystem>

#include "parapet/core/run_record.h"

namespace parapet {

class RunDirectory {
 public:
  // Paths only; nothing is read or written.
  explicit RunDirectory(std::filesystem::path path) : path_(std::move(path)) {}

  // Makes the folder and writes run.json and config.toml. UsageError when the folder holds another
  // run or other files, unless `resume`: then run.json keeps the first start, and each resumption
  // is added to its list "resumed". UsageError when an input's content differs from the one the
  // run began with. In a world of several processes only rank 0 calls this.
  static RunDirectory create(const std::filesystem::path& path, const RunInfo& info, bool resume);

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path run_json() const { return path_ / "run.json"; }
  std::filesystem::path config() const { return path_ / "config.toml"; }
  std::filesystem::path metrics() const { return path_ / "metrics.jsonl"; }
  std::filesystem::path checkpoints() const { return path_ / "checkpoints"; }
  std::filesystem::path model() const { return path_ / "model"; }
  std::filesystem::path adapter() const { return path_ / "adapter"; }

 private:
  std::filesystem::path path_;
};

}  // namespace parapet
