#include "parapet/cli/guard_support.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/data/sample_keys.h"

namespace parapet::cli {
namespace {

namespace fs = std::filesystem;
constexpr const char* kKeyFile = "guard_samples.txt";

// Empty, with a warning, when the folder has none.
std::vector<std::string> load_sample_keys(const fs::path& heads, const Context& context) {
  std::vector<std::string> keys;
  const fs::path file = (fs::is_directory(heads) ? heads : heads.parent_path()) / kKeyFile;
  if (!fs::exists(file)) {
    context.warn(file.string() +
                 " is missing: whether the heads have seen these samples cannot be checked");
    return keys;
  }
  const std::string text = read_file(file);
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (end > at) keys.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return keys;
}

bool has_heads(const fs::path& folder) { return fs::exists(folder / "guard_heads.json"); }

}  // namespace

fs::path find_heads(const fs::path& run) { return has_heads(run) ? run : run / "heads"; }

GuardFiles find_guard(const std::string& model, const std::string& heads) {
  GuardFiles files{model, heads};
  const fs::path run = model;
  if (heads.empty()) files.heads = find_heads(run);
  if (!fs::exists(run / "config.json") && fs::exists(run / "run.json")) {
    files.model = run / "model";
    if (!fs::exists(files.model)) {
      const auto record = load_json(run / "run.json");
      const std::string place = (run / "run.json").string();
      const auto inputs = record.value("inputs", nlohmann::json::object());
      files.model = json_field<std::string>(inputs.value("model", nlohmann::json::object()), "path",
                                            place + ": inputs.model");
    }
  }
  return files;
}

fs::path model_cache(const std::string& option) {
  if (option == "none") return {};
  if (option != "auto") return option;
  const auto folder = [](const char* name) -> fs::path {
    const char* value = std::getenv(name);
    return value != nullptr && *value == '/' ? value : "";
  };
  const fs::path cache = folder("XDG_CACHE_HOME"), home = folder("HOME");
  if (!cache.empty()) return cache / "parapet/models";
  return home.empty() ? fs::path() : home / ".cache/parapet/models";
}

void save_sample_keys(const fs::path& heads, const TrainedGuard& guard) {
  std::set<std::string_view> seen;  // pictures come in several samples
  std::string text;
  for (const auto* keys : {&guard.train_keys, &guard.calibration_keys, &guard.image_keys})
    for (const auto& key : *keys)
      if (seen.insert(key).second) text += key + "\n";
  write_file_atomic(heads / kKeyFile, text);
}

void require_unseen(const fs::path& heads, const std::vector<LabelSample>& samples,
                    const std::string& source, const Context& context) {
  const auto known = load_sample_keys(heads, context);
  std::vector<std::string> images;
  require_disjoint(known, sample_keys(samples, &images), source);
  const std::set<std::string_view> seen(known.begin(), known.end());
  const auto shared = std::count_if(images.begin(), images.end(),
                                    [&](const auto& key) { return seen.contains(key); });
  if (shared > 0)
    context.warn(source + ": " + std::to_string(shared) + " of " + std::to_string(images.size()) +
                 " pictures were in training or calibration with other texts, so that measures of "
                 "the image alone are not on unseen ones");
}

}  // namespace parapet::cli
