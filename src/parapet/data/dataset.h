// Data set directories: quadruplets.jsonl, captions.jsonl, labels.jsonl (see docs/data-formats).
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/data/samples.h"

namespace parapet {

enum class OnBadSample { kStop, kSkip };
// "stop" or "skip"; UsageError otherwise.
OnBadSample parse_on_bad_sample(std::string_view text);

struct LoadOptions {
  // Also check that every image is there (a file's existence, a shard member's index entry).
  bool check_images = false;
  // Quadruplets without images are bad samples.
  bool require_images = true;
  // kStop: DataError at the first bad line; missing images are counted and the first few named.
  // kSkip: bad samples are left out, written with their reasons to `quarantine`, and counted.
  OnBadSample on_bad_sample = OnBadSample::kStop;
  // JSON Lines {file, line, id, reason}; empty = quarantine.jsonl in the data set's folder.
  std::filesystem::path quarantine;
  Context context;  // warnings: skipped samples, categories with a single sample
};

struct LoadReport {
  int64_t loaded = 0;
  int64_t skipped = 0;
};

// Samples of one split, all splits when it is empty; a split that no record names gives an empty
// list. DataError: file missing or without records, bad JSON, missing fields, wrong types (file and
// line named), repeated ids.
std::vector<Quadruplet> load_quadruplets(const std::filesystem::path& folder,
                                         std::string_view split, const LoadOptions& options = {},
                                         LoadReport* report = nullptr);
std::vector<CaptionSample> load_captions(const std::filesystem::path& folder,
                                         std::string_view split, const LoadOptions& options = {},
                                         LoadReport* report = nullptr);
std::vector<LabelSample> load_labels(const std::filesystem::path& folder, std::string_view split,
                                     const LoadOptions& options = {}, LoadReport* report = nullptr);

// DataError when a list that must hold samples is empty: names folder, file and split.
void require_samples(size_t count, const std::filesystem::path& folder, std::string_view file,
                     std::string_view split);

}  // namespace parapet
