// Thresholds that trained heads chose on their calibration split: a policy may name one instead of
// writing a number. Reads guard_heads.json alone; no weights, no torch.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/guard/request.h"
#include "parapet/methods/guard_heads/heads.h"

namespace parapet::guard {

// guard_heads.json of a head folder, of a run folder of `parapet train guard`, or that file itself.
std::filesystem::path heads_file(const std::filesystem::path& given);

class NamedThresholds {
 public:
  // fpr1, recall95, best_f1: members of ScoreThresholds.
  static const std::vector<std::string>& names();
  // DataError names the file and the field.
  static NamedThresholds load(const std::filesystem::path& file);

  const std::string& version() const { return version_; }  // of the heads
  // What the heads score: their categories, any_harm, contradiction.
  std::vector<std::string> scored() const;
  // Contradiction is a score of pairs alone.
  static bool scores(std::string_view category, Modality modality);
  // Empty when the heads chose none, e.g. since split val had no harmful or no benign sample.
  std::optional<double> find(std::string_view category, Modality modality,
                             std::string_view name) const;

 private:
  std::string version_;
  std::vector<std::string> categories_;
  std::map<std::string, ScoreThresholds, std::less<>> thresholds_;
};

}  // namespace parapet::guard
