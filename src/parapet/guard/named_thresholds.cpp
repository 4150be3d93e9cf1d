#include "parapet/guard/named_thresholds.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "parapet/core/json.h"

namespace parapet::guard {
namespace {

namespace fs = std::filesystem;
constexpr const char* kFile = "guard_heads.json";
constexpr std::string_view kAnyHarm = "any_harm", kContradiction = "contradiction";

ScoreThresholds read_thresholds(const nlohmann::json& value, const std::string& place) {
  const auto number = [&](const char* name) {
    return json_field_or<double>(value, name, std::numeric_limits<double>::quiet_NaN(), place);
  };
  return {number("fpr1"), number("recall95"), number("review_low"), number("review_high"),
          number("best_f1")};
}

}  // namespace

fs::path heads_file(const fs::path& given) {
  std::error_code error;
  if (fs::is_regular_file(given, error)) return given;
  const fs::path run = given / "heads" / kFile;
  return !fs::exists(given / kFile, error) && fs::exists(run, error) ? run : given / kFile;
}

const std::vector<std::string>& NamedThresholds::names() {
  static const std::vector<std::string> names = {"fpr1", "recall95", "best_f1"};
  return names;
}

NamedThresholds NamedThresholds::load(const fs::path& file) {
  const nlohmann::json json = load_json(file);
  NamedThresholds result;
  result.version_ = json_field_or<std::string>(json, "version", "", file.string());
  result.categories_ = json_field<std::vector<std::string>>(json, "categories", file.string());
  const nlohmann::json thresholds = json.value("thresholds", nlohmann::json::object());
  for (const auto& [name, value] : thresholds.items())
    result.thresholds_[name] =
        read_thresholds(value, file.string() + ": thresholds '" + name + "'");
  return result;
}

std::vector<std::string> NamedThresholds::scored() const {
  std::vector<std::string> names = categories_;
  names.emplace_back(kAnyHarm);
  names.emplace_back(kContradiction);
  return names;
}

bool NamedThresholds::scores(std::string_view category, Modality modality) {
  return category != kContradiction || modality == Modality::kJoint;
}

std::optional<double> NamedThresholds::find(std::string_view category, Modality modality,
                                            std::string_view name) const {
  std::string key = std::string(modality_name(modality)) + ".";
  key += category == kAnyHarm ? "harm" : category;
  if (category == kContradiction) key = kContradiction;
  const auto it = thresholds_.find(key);
  if (it == thresholds_.end() || !scores(category, modality)) return std::nullopt;
  const double value = name == "fpr1"       ? it->second.fpr1
                       : name == "recall95" ? it->second.recall95
                       : name == "best_f1"  ? it->second.best_f1
                                            : std::nan("");
  return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

}  // namespace parapet::guard
