#include "parapet/training/memory_check.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/training/run_directory.h"
#include "parapet/training/single_process.h"
#include "parapet/training/trainer.h"
#include "support/temp_folder.h"
#include "toy_task.h"

namespace parapet::test {
namespace {

constexpr int64_t kGB = 1'000'000'000;

MemoryNeed need_of(int64_t activations) {
  MemoryNeed need;
  need.memory = {.parameters = 1 * kGB,
                 .gradients = 2 * kGB,
                 .optimizer = 4 * kGB,
                 .activations = activations};
  need.remedies = {"a smaller --batch-size (32 now)", "--mode lora"};
  return need;
}

TEST(MemoryCheck, SaysEveryPartAndWhatIsFree) {
  const MemoryCheck check{.need = need_of(8 * kGB), .free = 20 * kGB};
  EXPECT_TRUE(check.fits());
  EXPECT_EQ(check.warning(), "");
  EXPECT_EQ(check.text(),
            "training takes about 15.0 GB: weights 1.0 GB, gradients 2.0 GB, optimiser 4.0 GB, "
            "activations 8.0 GB; 20.0 GB are free");
}

TEST(MemoryCheck, WhatDoesNotFitNamesTheRemedies) {
  const MemoryCheck check{.need = need_of(14 * kGB), .free = 20 * kGB};
  EXPECT_FALSE(check.fits());
  for (const char* part : {"21.0 GB", "20.0 GB are free", "--batch-size (32 now)", "--mode lora"})
    EXPECT_NE(check.warning().find(part), std::string::npos) << part << ": " << check.warning();
}

TEST(MemoryCheck, ADeviceHoldsTheWeightsAlready) {
  EXPECT_TRUE((MemoryCheck{.need = need_of(14 * kGB), .free = 20 * kGB, .on_cpu = false}.fits()));
  EXPECT_FALSE((MemoryCheck{.need = need_of(15 * kGB), .free = 20 * kGB, .on_cpu = false}.fits()));
}

TEST(MemoryCheck, ProcessesOfAMachineShareItsMemory) {
  const MemoryCheck check{.need = need_of(8 * kGB), .free = 20 * kGB, .processes = 2};
  EXPECT_EQ(check.taken(), 30 * kGB);
  EXPECT_FALSE(check.fits());
  EXPECT_EQ(check.to_json()["processes"], 2);
}

TEST(MemoryCheck, UnknownFreeMemoryIsNotJudged) {
  const MemoryCheck check{.need = need_of(8000 * kGB), .free = -1};
  EXPECT_TRUE(check.fits());
  EXPECT_EQ(check.text().find("free"), std::string::npos);
  EXPECT_FALSE(check.to_json().contains("free_bytes"));
}

TEST(MemoryCheck, LooksAtThisMachine) {
  const MemoryCheck check = check_memory(need_of(0), at::kCPU, 3);
  EXPECT_GT(check.free, 0);
  EXPECT_GT(check.resident, 0);
  EXPECT_EQ(check.processes, 3);
}

// A toy that claims to take what it is told to.
class HungryTask final : public ToyTask {
 public:
  explicit HungryTask(int64_t activations) : ToyTask({}), activations_(activations) {}
  std::optional<MemoryNeed> memory() const override { return need_of(activations_); }

 private:
  int64_t activations_;
};

struct Said {
  std::vector<std::string> infos, warnings;
  Context context() {
    Context context;
    context.log_sink = [this](LogLevel level, std::string_view text) {
      (level == LogLevel::kWarning ? warnings : infos).emplace_back(text);
    };
    return context;
  }
};

TrainingResult train_hungry(int64_t activations, const std::filesystem::path& run, Said& said) {
  HungryTask task(activations);
  SingleProcess world;
  TrainerOptions options;
  options.max_steps = 2;
  return train(task, options, run, world, said.context());
}

TEST(Trainer, TellsItsMemoryBeforeTheFirstStepAndKeepsItInTheRecord) {
  const TempFolder folder;
  const RunDirectory run = RunDirectory::create(folder / "run", {}, false);
  Said said;
  const TrainingResult result = train_hungry(0, run.path(), said);
  ASSERT_FALSE(said.infos.empty());
  EXPECT_TRUE(said.infos.front().starts_with("training takes about 7.0 GB")) << said.infos.front();
  const auto record = load_json(run.run_json());
  EXPECT_EQ(record["training_memory"]["total_bytes"], 7 * kGB);
  EXPECT_EQ(record["training_memory"]["optimizer_bytes"], 4 * kGB);
  EXPECT_GT(record["training_memory"]["peak_resident_bytes"], 0);
  EXPECT_TRUE(record.contains("hardware"));
  ASSERT_TRUE(result.memory.has_value());
  EXPECT_GT(result.peak_memory, 0);
}

TEST(Trainer, WarnsOfWhatWillNotFitAndTrainsAllTheSame) {
  const TempFolder folder;
  Said said;
  EXPECT_EQ(train_hungry(1'000'000 * kGB, folder / "run", said).steps, 2);
  ASSERT_EQ(said.warnings.size(), 1u);
  EXPECT_NE(said.warnings.front().find("--mode lora"), std::string::npos) << said.warnings.front();
}

TEST(Trainer, ATaskThatCannotTellIsTrainedWithoutAWord) {
  const TempFolder folder;
  Said said;
  ToyTask task({});
  SingleProcess world;
  TrainerOptions options;
  options.max_steps = 1;
  EXPECT_FALSE(train(task, options, folder / "run", world, said.context()).memory.has_value());
  EXPECT_TRUE(said.infos.empty());
}

}  // namespace
}  // namespace parapet::test
