// Where a data set's images go: single files, or tar shards in webdataset naming.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "parapet/formats/tar.h"

namespace parapet {

class ImageStore {
 public:
  enum class Format { kFolder, kTar };
  // Folder: `folder`/images/<stem>-000/<name>, 1,000 files per sub-folder. Tar:
  // `folder`/<stem>-000000.tar, ... with `per_shard` keys each.
  ImageStore(std::filesystem::path folder, Format format, std::string stem,
             int64_t per_shard = 5000);
  ~ImageStore();

  // Starts the next sample; a shard holds whole samples.
  void next_sample();
  // Stores a file of the current sample and returns its value for the record, relative to the
  // folder. Calls come in a set order from one thread.
  std::string add(std::string_view name, std::string_view bytes);
  // Closes the last shard.
  void finish();

 private:
  std::filesystem::path folder_;
  Format format_;
  std::string stem_;
  int64_t per_shard_;
  int64_t samples_ = 0;
  std::string shard_;
  std::unique_ptr<TarWriter> writer_;
};

}  // namespace parapet
