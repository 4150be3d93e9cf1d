#include "parapet/training/checkpoint.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <set>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/training/tensor_files.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

// Of a checkpoint folder. 1 had no such field and kept each task's own data position.
constexpr int64_t kFormat = 2;

[[noreturn]] void fail(const fs::path& path, const std::string& what) {
  throw DataError(path.string(), what + ": " + std::strerror(errno),
                  "The previous checkpoint is intact.");
}

void sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  ::fsync(fd);
  ::close(fd);
}

void make_folders(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw DataError(folder.string(), "cannot create: " + error.message());
}

// "step-00000200", or with ".2" and so on where a killed run has left that name.
std::string free_name(const fs::path& folder, int64_t step) {
  char stem[32];
  std::snprintf(stem, sizeof stem, "step-%08lld", static_cast<long long>(step));
  std::string name = stem;
  for (int i = 2; fs::exists(folder / name); ++i) name = stem + ("." + std::to_string(i));
  return name;
}

void write_contents(const fs::path& folder, const Checkpoint& checkpoint,
                    const nlohmann::json& state) {
  nn::save_tensors(folder / "weights.safetensors", checkpoint.weights);
  nn::save_tensors(folder / "optimizer.safetensors", checkpoint.optimizer);
  nn::save_tensors(folder / "buffers.safetensors", checkpoint.buffers);
  nn::save_tensors(folder / "generators.safetensors", checkpoint.generators);
  save_json(folder / "state.json", state);
  sync_folder(folder);
}

}  // namespace

void CheckpointStore::save(const Checkpoint& checkpoint, int64_t step, bool best) const {
  make_folders(folder_);
  const std::string name = free_name(folder_, step);
  const fs::path temporary = folder_ / (".tmp-" + name);
  nlohmann::json state = checkpoint.state;
  state["format"] = kFormat;
  state["step"] = step;
  state["is_best"] = best;
  try {
    fs::remove_all(temporary);
    make_folders(temporary);
    write_contents(temporary, checkpoint, state);
    if (::rename(temporary.c_str(), (folder_ / name).c_str()) != 0) fail(folder_ / name, "rename");
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw;
  }
  sync_folder(folder_);
  if (has_last()) link("previous", fs::read_symlink(folder_ / "last").string());
  link("last", name);
  if (best) link("best", name);
  prune();
}

void CheckpointStore::confirm() const {
  drop_previous();
  prune();
}

bool CheckpointStore::roll_back() const {
  if (!exists("previous")) return false;
  link("last", fs::read_symlink(folder_ / "previous").string());
  confirm();
  return true;
}

void CheckpointStore::drop_previous() const {
  ::unlink((folder_ / "previous").c_str());
  sync_folder(folder_);
}

nlohmann::json CheckpointStore::read_state(const std::string& which) const {
  const fs::path file = folder_ / which / "state.json";
  auto state = load_json(file);
  const int64_t format = json_field_or<int64_t>(state, "format", 1, file.string());
  if (format != kFormat)
    throw DataError(file.string(),
                    "the checkpoint has form " + std::to_string(format) + ", this version reads " +
                        std::to_string(kFormat),
                    format < kFormat
                        ? "An earlier version of Parapet wrote it: go on with that version, or "
                          "start anew in another --out."
                        : "A later version of Parapet wrote it: go on with that version.");
  return state;
}

void CheckpointStore::load(const std::string& which, Checkpoint& into) const {
  load_weights(which, into);
  read_tensors(folder_ / which / "optimizer.safetensors", into.optimizer);
}

void CheckpointStore::load_weights(const std::string& which, Checkpoint& into) const {
  read_tensors(folder_ / which / "weights.safetensors", into.weights);
  read_tensors(folder_ / which / "buffers.safetensors", into.buffers);
}

void CheckpointStore::repair() const {
  if (!has_last()) return prune();
  const fs::path last = fs::read_symlink(folder_ / "last");
  const auto state = read_state("last");
  if (state.value("is_best", false) && (!has_best() || fs::read_symlink(folder_ / "best") != last))
    link("best", last.string());
  prune();
}

bool CheckpointStore::exists(const std::string& which) const {
  return fs::exists(folder_ / which / "state.json");
}

void CheckpointStore::link(const std::string& which, const std::string& target) const {
  const fs::path temporary = folder_ / (".tmp-link-" + which);
  ::unlink(temporary.c_str());
  if (::symlink(target.c_str(), temporary.c_str()) != 0) fail(folder_ / which, "cannot link");
  if (::rename(temporary.c_str(), (folder_ / which).c_str()) != 0)
    fail(folder_ / which, "cannot replace the link");
  sync_folder(folder_);
}

void CheckpointStore::prune() const {
  std::error_code error;
  std::set<std::string> keep;
  for (const char* which : {"last", "best", "previous"}) {
    const auto target = fs::read_symlink(folder_ / which, error);
    if (!error) keep.insert(target.string());
  }
  std::vector<fs::path> stale;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    const bool ours = name.rfind("step-", 0) == 0 || name.rfind(".tmp-", 0) == 0;
    if (ours && keep.count(name) == 0) stale.push_back(entry.path());
  }
  for (const auto& path : stale) fs::remove_all(path, error);
}

}  // namespace parapet
