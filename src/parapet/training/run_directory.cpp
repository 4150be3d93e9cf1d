#include "parapet/training/run_directory.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error)
    throw DataError(path.string(), "cannot create the run directory: " + error.message(),
                    "Check the path and its permissions");
}

// The record of the run that began here, with this resumption added.
nlohmann::json continued(const fs::path& file, const nlohmann::json& now) {
  nlohmann::json record = load_json(file);
  const auto before = record.value("inputs", nlohmann::json::object());
  for (const auto& [name, input] : now.at("inputs").items()) {
    if (!before.contains(name) || !before[name].contains("sha256")) continue;
    if (before[name]["sha256"] != input.at("sha256"))
      throw UsageError("--resume: input '" + name + "' has changed since the run in " +
                       file.parent_path().string() + " began; start a new run with another --out");
  }
  if (!record.contains("resumed")) record["resumed"] = nlohmann::json::array();
  record["resumed"].push_back({{"started", now.at("started")},
                               {"command", now.at("command")},
                               {"hardware", now.at("hardware")},
                               {"versions", now.at("versions")}});
  return record;
}

}  // namespace

RunDirectory RunDirectory::create(const fs::path& path, const RunInfo& info, bool resume) {
  RunDirectory run(path);
  const bool has_run = fs::exists(run.run_json());
  if (fs::exists(path) && !fs::is_directory(path))
    throw UsageError("--out " + path.string() + ": is a file, give a directory");
  if (has_run && !resume)
    throw UsageError("--out " + path.string() +
                     ": holds an earlier run. Pass --resume to go on with it, or another --out");
  if (!has_run && fs::exists(path) && !fs::is_empty(path))
    throw UsageError("--out " + path.string() +
                     ": holds files that are not a run. Give a new or empty directory");
  const nlohmann::json record = run_record(info);
  make_folder(path);
  const nlohmann::json written = has_run ? continued(run.run_json(), record) : record;
  save_json(run.run_json(), written);  // first: without it the folder would not count as a run
  write_file_atomic(run.config(), info.resolved_toml);
  return run;
}

}  // namespace parapet
