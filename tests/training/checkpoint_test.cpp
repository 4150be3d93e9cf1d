#include "parapet/training/checkpoint.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "support/temp_folder.h"

namespace parapet::test {
namespace {

namespace fs = std::filesystem;

Checkpoint filled(double value) {
  Checkpoint checkpoint;
  checkpoint.weights = {{"a", at::full({2, 3}, value, at::kFloat)},
                        {"b", at::full({}, value + 1, at::kFloat)}};
  checkpoint.optimizer = {{"a.exp_avg", at::full({2, 3}, value + 2, at::kFloat)},
                          {"rng.cpu", at::full({1, 4}, 7, at::kByte)}};
  checkpoint.buffers = {{"steps", at::full({}, 5, at::kLong)}};
  checkpoint.state = {{"tasks", nlohmann::json::array({1})}};
  return checkpoint;
}

double weight(const CheckpointStore& store, const std::string& which) {
  Checkpoint into = filled(0);
  store.load(which, into);
  return into.weights[0].second[1][2].item<double>();
}

std::set<std::string> names(const fs::path& folder) {
  std::set<std::string> list;
  for (const auto& entry : fs::directory_iterator(folder)) list.insert(entry.path().filename());
  return list;
}

TEST(Checkpoint, RoundTripAndOldOnesGo) {
  const TempFolder dir;
  const CheckpointStore store(dir / "checkpoints");
  EXPECT_FALSE(store.has_last());
  store.save(filled(1), 10, true);
  store.save(filled(2), 20, false);
  store.save(filled(3), 30, false);
  EXPECT_EQ(weight(store, "last"), 3);
  EXPECT_EQ(weight(store, "best"), 1);
  EXPECT_EQ(store.read_state("last")["step"], 30);
  Checkpoint into = filled(0);
  store.load("last", into);
  EXPECT_EQ(into.optimizer[0].second[0][0].item<double>(), 5);
  EXPECT_TRUE(into.optimizer[1].second.equal(at::full({1, 4}, 7, at::kByte)));
  // The one before the last stays until a step from the last has succeeded.
  EXPECT_EQ(names(dir / "checkpoints"),
            (std::set<std::string>{"last", "best", "previous", "step-00000010", "step-00000020",
                                   "step-00000030"}));
  store.confirm();
  EXPECT_EQ(names(dir / "checkpoints"),
            (std::set<std::string>{"last", "best", "step-00000010", "step-00000030"}));
  EXPECT_FALSE(store.roll_back());
  store.save(filled(4), 40, false);
  EXPECT_TRUE(store.roll_back());
  EXPECT_EQ(weight(store, "last"), 3);
  EXPECT_EQ(names(dir / "checkpoints"),
            (std::set<std::string>{"last", "best", "step-00000010", "step-00000030"}));
}

TEST(Checkpoint, RepairFinishesWhatAKillLeft) {
  const TempFolder dir;
  const fs::path folder = dir / "checkpoints";
  const CheckpointStore store(folder);
  store.save(filled(1), 10, true);
  store.save(filled(2), 20, true);
  fs::remove(folder / "best");  // as if killed between the two links
  fs::create_directories(folder / ".tmp-step-00000030");
  write_file_atomic(folder / ".tmp-step-00000030" / "weights.safetensors", "half");
  store.save(filled(9), 25, false);
  fs::create_directories(folder / ".tmp-step-00000030");
  store.repair();
  EXPECT_EQ(weight(store, "last"), 9);
  EXPECT_FALSE(store.has_best()) << "step 25 was not the best";
  store.save(filled(4), 30, true);
  fs::remove(folder / "best");
  store.repair();
  EXPECT_EQ(weight(store, "best"), 4) << "the last checkpoint says that it is the best";
  EXPECT_EQ(weight(store, "previous"), 9) << "to fall back to";
  store.confirm();
  EXPECT_EQ(names(folder), (std::set<std::string>{"last", "best", "step-00000030"}));
}

TEST(Checkpoint, ATaskMayHaveNoBuffers) {
  const TempFolder dir;
  const CheckpointStore store(dir / "checkpoints");
  Checkpoint checkpoint = filled(3);
  checkpoint.buffers.clear();
  store.save(checkpoint, 1, false);
  Checkpoint into = filled(0);
  into.buffers.clear();
  store.load("last", into);
  EXPECT_EQ(into.weights[1].second.item<double>(), 4);
}

TEST(Checkpoint, SameStepAgainGetsANewFolder) {
  const TempFolder dir;
  const CheckpointStore store(dir / "checkpoints");
  store.save(filled(1), 10, true);
  store.save(filled(2), 10, false);
  EXPECT_EQ(weight(store, "last"), 2);
  EXPECT_EQ(weight(store, "best"), 1);
}

TEST(Checkpoint, NamesEveryTensorThatDoesNotFit) {
  const TempFolder dir;
  const CheckpointStore store(dir / "checkpoints");
  store.save(filled(1), 10, false);
  Checkpoint into = filled(0);
  into.weights = {{"a", at::zeros({3, 2})}, {"new", at::zeros({1})}};
  try {
    store.load("last", into);
    FAIL();
  } catch (const DataError& error) {
    const std::string text = error.what();
    for (const char* part :
         {"'a' has another shape", "'new' is missing", "'b' is unexpected", "weights.safetensors"})
      EXPECT_NE(text.find(part), std::string::npos) << part << " in: " << text;
  }
  EXPECT_EQ(into.weights[0].second.abs().sum().item<double>(), 0) << "nothing was copied";
}

TEST(Checkpoint, DamagedFilesAreDataErrors) {
  const TempFolder dir;
  const CheckpointStore store(dir / "checkpoints");
  store.save(filled(1), 10, false);
  const fs::path weights = dir / "checkpoints" / "last" / "weights.safetensors";
  fs::resize_file(weights, fs::file_size(weights) - 4);
  Checkpoint into = filled(0);
  EXPECT_THROW(store.load("last", into), DataError);
  write_file_atomic(dir / "checkpoints" / "last" / "state.json", "{\"step\": ");
  EXPECT_THROW(store.read_state("last"), DataError);
}

TEST(Checkpoint, UnwritableFolderIsADataError) {
  const TempFolder dir;
  write_file_atomic(dir / "checkpoints", "a file where the folder should be");
  const CheckpointStore store(dir / "checkpoints");
  EXPECT_THROW(store.save(filled(1), 10, false), DataError);
}

}  // namespace
}  // namespace parapet::test
