#include "parapet/engine/encoder/model_stamp.h"

#include <sys/stat.h>

#include <utility>

#include "parapet/core/error.h"
#include "parapet/models/model_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

int64_t nanoseconds(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

ModelStamp::ModelStamp(std::vector<fs::path> folders) : folders_(std::move(folders)) {
  before_ = look();
}

std::map<fs::path, ModelStamp::Stamp> ModelStamp::look() const {
  std::map<fs::path, Stamp> found;
  for (const fs::path& folder : folders_) {
    std::error_code missing;  // whoever loads the folder names the problem
    for (const auto& entry : fs::directory_iterator(folder, missing)) {
      const std::string name = entry.path().filename().string();
      struct stat file {};
      if (!defines_model(name) || ::stat(entry.path().c_str(), &file) != 0) continue;
      found[entry.path()] = {file.st_dev, file.st_ino, file.st_size, nanoseconds(file.st_mtim),
                             nanoseconds(file.st_ctim)};
    }
  }
  return found;
}

void ModelStamp::require_unchanged() const {
  const auto now = look();
  if (now == before_) return;
  for (const auto& [file, stamp] : before_)
    if (const auto found = now.find(file); found == now.end() || found->second != stamp)
      throw DataError(file.string(), "was changed while the model was being loaded",
                      "Load it again when nobody writes to the folder.");
  throw DataError(folders_.front().string(), "got new files while the model was being loaded",
                  "Load it again when nobody writes to the folder.");
}

}  // namespace parapet
