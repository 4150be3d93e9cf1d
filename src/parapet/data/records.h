// The lines of a data set directory: one record type per file, read with file and line in errors,
// written with values relative to the folder.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "parapet/core/file_draft.h"
#include "parapet/data/samples.h"

namespace parapet {

inline constexpr std::string_view kQuadrupletFile = "quadruplets.jsonl";
inline constexpr std::string_view kCaptionFile = "captions.jsonl";
inline constexpr std::string_view kLabelFile = "labels.jsonl";

// Fills a sample from one line; image values are resolved against `folder`. DataError at `place`.
void read_record(const nlohmann::json& object, const std::string& place,
                 const std::filesystem::path& folder, bool require_images, Quadruplet& sample);
void read_record(const nlohmann::json& object, const std::string& place,
                 const std::filesystem::path& folder, bool require_images, CaptionSample& sample);
void read_record(const nlohmann::json& object, const std::string& place,
                 const std::filesystem::path& folder, bool require_images, LabelSample& sample);

// Image fields are written as they are: give relative values.
nlohmann::json to_json(const Quadruplet& sample);
nlohmann::json to_json(const CaptionSample& sample);
nlohmann::json to_json(const LabelSample& sample);

// One .jsonl of any length, a draft until finish(); without finish()
// nothing appears.
class RecordFile {
 public:
  explicit RecordFile(std::filesystem::path file);
  void add(const nlohmann::json& record);
  // Writes what was added, if anything was.
  void finish();
  int64_t count() const { return count_; }

 private:
  void flush();
  std::filesystem::path file_;
  std::unique_ptr<FileDraft> draft_;  // from the first flush
  std::string buffer_;
  int64_t count_ = 0;
};

}  // namespace parapet
