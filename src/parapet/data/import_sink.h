// What the importers share: records out, bad records counted or fatal, image values.
#pragma once
#include <filesystem>
#include <set>
#include <string>

#include "parapet/core/context.h"
#include "parapet/core/error.h"
#include "parapet/data/import_options.h"
#include "parapet/data/records.h"

namespace parapet::importing {

class Sink {
 public:
  Sink(const ImportOptions& options, const std::filesystem::path& folder, const Context& context);

  // Throws when a record repeats an id or names an image that does not exist. Image values are
  // paths or "shard#member", relative to the working directory or absolute.
  void add(Quadruplet sample, const std::string& place);
  void add(CaptionSample sample, const std::string& place);
  // Under stop rethrows, under skip notes the record.
  void bad(const std::string& id, const DataError& error);
  ImportReport finish();

  const ImportOptions& options() const { return options_; }
  const std::filesystem::path& folder() const { return folder_; }
  // `name` under the images folder (else beside `input`).
  std::string image_path(const std::filesystem::path& input, const std::string& name) const;
  void check_cancelled() const;

 private:
  void check_id(const std::string& id, const std::string& place);
  std::string relative_value(const std::string& location, const std::string& place) const;
  const ImportOptions& options_;
  std::filesystem::path folder_;
  const Context& context_;
  RecordFile quadruplets_, captions_, quarantine_;
  std::set<std::string> ids_;
  int64_t skipped_ = 0;
};

void import_visu(const std::filesystem::path& file, Sink& sink);
void import_webdataset(const std::vector<std::string>& shards, Sink& sink);
void import_csv(const std::filesystem::path& file, Sink& sink);

}  // namespace parapet::importing
