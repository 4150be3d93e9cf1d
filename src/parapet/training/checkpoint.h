// Checkpoints of a training run.
//
//   checkpoints/step-00000200/{weights,optimizer,buffers,generators}.safetensors, state.json
//   checkpoints/last -> step-00000200     checkpoints/best -> step-00000150
//
// A folder is written under a temporary name, fsynced and renamed; then the link is replaced by a
// rename. A kill at any instant leaves the previous or the new checkpoint whole. Until a step has
// succeeded from the last one, the one before it is kept as checkpoints/previous.
#pragma once
#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <string>

#include "parapet/nn/parameter.h"

namespace parapet {

struct Checkpoint {
  nn::NamedTensors weights;     // the trained parameters
  nn::NamedTensors optimizer;   // moments, step counts
  nn::NamedTensors buffers;     // the task's
  nn::NamedTensors generators;  // torch's, a row for each rank; not read by load()
  nlohmann::json state;         // step, data positions, early stopping, counters
};

class CheckpointStore {
 public:
  explicit CheckpointStore(std::filesystem::path folder) : folder_(std::move(folder)) {}

  // Becomes `last`, and `best` too if asked; what was `last` becomes `previous`. Then removes
  // folders that none of them names. DataError
  // when it cannot be written (disk full): the earlier checkpoints stay as they were.
  void save(const Checkpoint& checkpoint, int64_t step, bool best) const;
  // A step from `last` succeeded: drops `previous`.
  void confirm() const;
  // A step from `last` failed: `previous` becomes `last` again. False when there is none.
  bool roll_back() const;
  bool has_last() const { return exists("last"); }
  bool has_best() const { return exists("best"); }
  // state.json of `which` ("last" or "best"). DataError when an earlier version of Parapet wrote
  // it in another form.
  nlohmann::json read_state(const std::string& which) const;
  std::filesystem::path generators(const std::string& which) const {
    return folder_ / which / "generators.safetensors";
  }
  // Copies values into the tensors given in `into`. DataError names a missing, unexpected or
  // mis-shaped tensor.
  void load(const std::string& which, Checkpoint& into) const;
  // Weights and buffers only.
  void load_weights(const std::string& which, Checkpoint& into) const;
  // Finishes what a kill between two renames left: removes temporary folders, and makes the last
  // checkpoint the best one if its state says so.
  void repair() const;

 private:
  bool exists(const std::string& which) const;
  void link(const std::string& which, const std::string& target) const;
  void drop_previous() const;
  void prune() const;

  std::filesystem::path folder_;
};

}  // namespace parapet
