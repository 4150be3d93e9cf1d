#include "parapet/training/trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/data/sources/compose.h"
#include "parapet/data/sources/order.h"
#include "parapet/formats/jsonl.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/training/checkpoint.h"
#include "parapet/training/single_process.h"
#include "support/temp_folder.h"
#include "toy_task.h"

namespace parapet::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

TrainerOptions toy_training(int64_t steps) {
  TrainerOptions options;
  options.max_steps = steps;
  options.lr = 0.02;
  options.warmup_steps = 3;
  options.weight_decay = 0.01;
  options.validate_every = 5;
  options.checkpoint_every = 4;
  options.log_every = 1;
  return options;
}

TrainingResult train_toy(TrainingTask& task, const TrainerOptions& options, const fs::path& run,
                         const Context& context = {}) {
  SingleProcess world;
  return train(task, options, run, world, context);
}

std::vector<json> lines(const fs::path& run) {
  std::vector<json> list;
  read_jsonl(run / "metrics.jsonl",
             [&](const json& line, const std::string&) { list.push_back(line); });
  return list;
}

TEST(Trainer, LearnsAndReports) {
  const TempFolder dir;
  ToyTask task({});
  const auto result = train_toy(task, toy_training(60), dir / "run");
  EXPECT_EQ(result.steps, 60);
  EXPECT_EQ(task.steps_seen(), 60);
  EXPECT_GT(result.samples_per_second, 0);
  EXPECT_GE(result.best_validation.at("recall"), 0.9);
  const auto metrics = lines(dir / "run");
  ASSERT_EQ(metrics.size(), 60u + 12u);
  EXPECT_LT(metrics[70]["loss"], 0.5 * metrics[0]["loss"].get<double>());
  for (const char* field :
       {"step", "lr", "loss", "terms", "grad_norm", "samples_per_second", "seconds"})
    EXPECT_TRUE(metrics[0].contains(field)) << field;
  EXPECT_TRUE(metrics[0]["terms"].contains("contrast"));
  EXPECT_TRUE(metrics.back()["validation"].contains("recall")) << metrics.back();
}

// Numbers from 0, as a task's micro-batches.
class NumberedTask : public TaskOf<int64_t> {
 public:
  SourcePtr<int64_t> batches(const Communicator& world) override {
    return shard_by_rank(numbers_from(0), world.rank(), world.world_size());
  }
  std::map<std::string, double> validate(const StepInfo&) override { return {}; }
};

// A loss whose gradient is known: micro-batches of 3, 5 and 10 times w, with weights.
class LinearTask final : public NumberedTask {
 public:
  explicit LinearTask(std::vector<double> weights = {1, 1, 1}) : weights_(std::move(weights)) {}
  at::Tensor w = at::ones({1}).set_requires_grad(true);

  std::vector<TrainableParameter> parameters() override { return {{"w", w, 1.0, false}}; }
  using NumberedTask::loss;
  StepLoss loss(int64_t& number, const StepInfo&) override {
    const double slopes[] = {3, 5, 10};
    StepLoss loss;
    loss.total = (w * slopes[number]).sum();
    loss.weight = weights_.at(static_cast<size_t>(number));
    // What a micro-batch of no tokens would say.
    if (loss.weight == 0) loss.total = loss.total * std::numeric_limits<float>::quiet_NaN();
    loss.samples = 1;
    loss.terms = {{"slope", at::scalar_tensor(slopes[number])}};
    if (number == 1) loss.terms.push_back({"second", at::scalar_tensor(7.0)});
    return loss;
  }

 private:
  std::vector<double> weights_;
};

TEST(Trainer, AccumulatesEveryMicroBatch) {
  const TempFolder dir;
  LinearTask task;
  TrainerOptions options;
  options.max_steps = 1;
  options.accumulate = 3;
  options.clip_norm = 0;
  train_toy(task, options, dir / "run");
  const auto line = lines(dir / "run").at(0);
  EXPECT_DOUBLE_EQ(line["grad_norm"], 6.0) << "the mean of 3, 5, 10";
  EXPECT_DOUBLE_EQ(line["terms"]["slope"], 6.0);
  EXPECT_DOUBLE_EQ(line["loss"], 6.0);
  EXPECT_DOUBLE_EQ(line["terms"]["second"], 7.0) << "of the one micro-batch that reports it";
}

// As a loss that is a mean over tokens needs it: 2, 0 and 6 tokens.
TEST(Trainer, MicroBatchesCountByTheirWeight) {
  const TempFolder dir;
  LinearTask task({2, 0, 6});
  TrainerOptions options;
  options.max_steps = 1;
  options.accumulate = 3;
  options.clip_norm = 0;
  train_toy(task, options, dir / "run");
  const auto line = lines(dir / "run").at(0);
  const double expected = (2 * 3 + 6 * 10) / 8.0;
  EXPECT_DOUBLE_EQ(line["grad_norm"], expected);
  EXPECT_DOUBLE_EQ(line["loss"], expected);
  EXPECT_DOUBLE_EQ(line["terms"]["slope"], expected);
}

// Mean squared error over rows, so that micro-batch means average to the big batch's mean exactly
// (powers of two).
class RowsTask final : public NumberedTask {
 public:
  explicit RowsTask(int64_t batch) : batch_(batch) {}
  at::Tensor w = at::zeros({4}).set_requires_grad(true);

  std::vector<TrainableParameter> parameters() override { return {{"w", w, 1.0, true}}; }
  using NumberedTask::loss;
  StepLoss loss(int64_t& number, const StepInfo&) override {
    const int64_t first = number * batch_;
    const auto rows = at::arange(first * 4, (first + batch_) * 4, at::kFloat).view({batch_, 4});
    const auto x = rows.remainder(16.0) / 8.0;
    StepLoss loss;
    loss.total = (at::matmul(x, w) - 1.0).square().mean();
    loss.samples = batch_;
    return loss;
  }

 private:
  int64_t batch_;
};

TEST(Trainer, AccumulationEqualsOneBigBatch) {
  const TempFolder dir;
  TrainerOptions options;
  options.max_steps = 20;
  options.lr = 0.05;
  RowsTask big(8), small(2);
  train_toy(big, options, dir / "big");
  options.accumulate = 4;
  train_toy(small, options, dir / "small");
  EXPECT_LE((big.w - small.w).abs().max().item<float>(), 1e-6f);
  EXPECT_GT(big.w.abs().max().item<float>(), 0.1f);
  EXPECT_NEAR(lines(dir / "big")[0]["grad_norm"].get<double>(),
              lines(dir / "small")[0]["grad_norm"].get<double>(), 1e-6);
}

TEST(Trainer, NanStopsBeforeTouchingWeights) {
  const TempFolder dir;
  ToyOptions toy;
  toy.nan_at = 6;
  ToyTask task(toy), reference({});
  try {
    train_toy(task, toy_training(20), dir / "run");
    FAIL() << "a NaN loss must stop the run";
  } catch (const CheckFailed& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("step 7"), std::string::npos) << text;
    EXPECT_NE(text.find("contrast"), std::string::npos) << text;
  }
  TrainerOptions six = toy_training(20);
  six.validate_every = 0;
  ToyTask other(toy);
  EXPECT_THROW(train_toy(other, six, dir / "other"), CheckFailed);
  EXPECT_TRUE(task.left().equal(other.left()));
  EXPECT_EQ(task.steps_seen(), 6);
  EXPECT_TRUE(at::isfinite(task.left()).all().item<bool>());
  // The last good checkpoint is there: best of step 5.
  EXPECT_TRUE(load_best(reference, dir / "run"));
  EXPECT_EQ(reference.steps_seen(), 5);
  EXPECT_TRUE(at::isfinite(reference.left()).all().item<bool>());
}

// The weights that a checkpoint holds.
at::Tensor left_of(const std::filesystem::path& run, const char* which) {
  ToyTask task({});
  Checkpoint into;
  for (const auto& p : task.parameters()) into.weights.emplace_back(p.name, p.tensor.detach());
  into.buffers = task.buffers();
  CheckpointStore(run / "checkpoints").load_weights(which, into);
  return task.left().detach();
}

TEST(Trainer, NanAtTheFirstStepLeavesTheStart) {
  const TempFolder dir;
  ToyOptions toy;
  toy.nan_at = 0;
  ToyTask task(toy);
  try {
    train_toy(task, toy_training(20), dir / "run");
    FAIL() << "a NaN loss must stop the run";
  } catch (const CheckFailed& error) {
    EXPECT_NE(std::string(error.what()).find("(step 0)"), std::string::npos) << error.what();
  }
  EXPECT_TRUE(left_of(dir / "run", "last").equal(ToyTask(toy).left()));
}

// A checkpoint whose own weights give the NaN is not the last good one.
TEST(Trainer, NanRightAfterACheckpointFallsBackToTheOneBefore) {
  const TempFolder dir;
  TrainerOptions options = toy_training(20);
  options.validate_every = 0;
  options.checkpoint_every = 2;
  for (const auto& [nan_at, good] : std::map<int64_t, int64_t>{{6, 4}, {7, 6}, {1, 0}, {2, 0}}) {
    ToyOptions toy;
    toy.nan_at = nan_at;
    ToyTask task(toy);
    const auto run = dir / std::to_string(nan_at);
    EXPECT_THROW(train_toy(task, options, run), CheckFailed);
    const CheckpointStore store(run / "checkpoints");
    EXPECT_EQ(store.read_state("last")["step"], good) << "NaN at " << nan_at;
    EXPECT_FALSE(store.roll_back());  // nothing is left behind
    // It can be gone on with.
    TrainerOptions again = options;
    again.resume = true;
    ToyTask resumed({}), whole({});
    EXPECT_EQ(train_toy(resumed, again, run).steps, 20);
    train_toy(whole, options, dir / ("whole" + std::to_string(nan_at)));
    EXPECT_TRUE(resumed.left().equal(whole.left()));
  }
}

// Presses Ctrl-C at a step.
class CancelTask final : public ToyTask {
 public:
  CancelTask(const ToyOptions& options, int64_t at, std::atomic<bool>* flag)
      : ToyTask(options), at_(at), flag_(flag) {}
  using ToyTask::loss;
  StepLoss loss(ToyBatch& batch, const StepInfo& info) override {
    if (info.step == at_) flag_->store(true);
    return ToyTask::loss(batch, info);
  }

 private:
  int64_t at_;
  std::atomic<bool>* flag_;
};

TEST(Trainer, CancelSavesAndResumeIsBitIdentical) {
  const TempFolder dir;
  ToyOptions toy;
  toy.dropout = 0.2;
  const auto options = toy_training(20);
  at::manual_seed(3);
  ToyTask whole(toy);
  train_toy(whole, options, dir / "whole");

  std::atomic<bool> flag{false};
  Context context;
  context.cancel = &flag;
  at::manual_seed(3);
  CancelTask broken(toy, 10, &flag);
  try {
    train_toy(broken, options, dir / "broken", context);
    FAIL() << "must be cancelled";
  } catch (const Cancelled& error) {
    EXPECT_EQ(error.exit_code(), 130);
    EXPECT_NE(std::string(error.what()).find("--resume"), std::string::npos);
  }
  EXPECT_EQ(broken.steps_seen(), 11);

  at::manual_seed(99);  // another process would start with another generator
  ToyOptions other = toy;
  other.nan_at = -1;
  ToyTask resumed(other);
  TrainerOptions again = options;
  again.resume = true;
  const auto result = train_toy(resumed, again, dir / "broken");
  EXPECT_EQ(result.steps, 20);
  EXPECT_TRUE(resumed.left().equal(whole.left()));
  auto expected = lines(dir / "whole"), got = lines(dir / "broken");
  ASSERT_EQ(expected.size(), got.size());
  for (size_t i = 0; i < got.size(); ++i) {
    for (auto* line : {&expected[i], &got[i]})
      for (const char* timing : {"seconds", "samples_per_second"}) line->erase(timing);
    EXPECT_EQ(expected[i], got[i]);
  }
}

TEST(Trainer, RefusesToOverwriteAndResumesAFinishedRun) {
  const TempFolder dir;
  ToyTask task({}), again({});
  auto options = toy_training(8);
  train_toy(task, options, dir / "run");
  EXPECT_THROW(train_toy(again, options, dir / "run"), UsageError);
  options.resume = true;
  const auto result = train_toy(again, options, dir / "run");
  EXPECT_EQ(result.steps, 8);
  EXPECT_EQ(result.last_validation.count("loss"), 1u);
  EXPECT_TRUE(again.left().equal(task.left()));
}

TEST(Trainer, ResumeWarnsAboutChangedOptions) {
  const TempFolder dir;
  ToyTask task({}), again({});
  auto options = toy_training(8);
  train_toy(task, options, dir / "run");
  options.resume = true;
  options.max_steps = 10;
  std::vector<std::string> warnings;
  Context context;
  context.log_sink = [&](LogLevel level, std::string_view text) {
    if (level == LogLevel::kWarning) warnings.emplace_back(text);
  };
  EXPECT_EQ(train_toy(again, options, dir / "run", context).steps, 10);
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_NE(warnings[0].find("max-steps"), std::string::npos) << warnings[0];
}

// Validation gets worse from the second on.
class WorseningTask final : public ToyTask {
 public:
  using ToyTask::ToyTask;
  std::map<std::string, double> validate(const StepInfo&) override {
    validations_ += 1;
    return {{"loss", validations_}};
  }
  Selection selection() const override { return {"loss", false}; }

 private:
  double validations_ = 0;
};

TEST(Trainer, StopsEarlyAndKeepsTheBest) {
  const TempFolder dir;
  auto options = toy_training(100);
  options.patience = 2;
  WorseningTask task(ToyOptions{});
  const auto result = train_toy(task, options, dir / "run");
  EXPECT_TRUE(result.stopped_early);
  EXPECT_EQ(result.steps, 15);
  EXPECT_EQ(result.best_step, 5);
  ToyTask best({}), five({});
  EXPECT_TRUE(load_best(best, dir / "run"));
  EXPECT_EQ(best.steps_seen(), 5);
  EXPECT_FALSE(load_best(best, dir / "nothing"));
  // Resuming a run that stopped early does not train on.
  options.resume = true;
  WorseningTask again(ToyOptions{});
  const auto second = train_toy(again, options, dir / "run");
  EXPECT_TRUE(second.stopped_early);
  EXPECT_EQ(second.steps, 15);
}

// Training goes on from a checkpoint of another device, whose generator this one does not have.
TEST(Trainer, ResumesARunOfAnotherDeviceWithAWarning) {
  const TempFolder dir;
  ToyTask task({}), again({});
  auto options = toy_training(8);
  train_toy(task, options, dir / "run");
  const fs::path file = dir / "run" / "checkpoints/last/generators.safetensors";
  nn::save_tensors(file, {{"rng.cuda", at::zeros({1, 16}, at::kByte)}});
  options.resume = true;
  options.max_steps = 12;
  std::vector<std::string> warnings;
  Context context;
  context.log_sink = [&](LogLevel level, std::string_view text) {
    if (level == LogLevel::kWarning) warnings.emplace_back(text);
  };
  EXPECT_EQ(train_toy(again, options, dir / "run", context).steps, 12);
  ASSERT_EQ(warnings.size(), 2u) << "max-steps and the generator";
  EXPECT_NE(warnings[1].find("rng.cpu"), std::string::npos) << warnings[1];
  EXPECT_NE(warnings[1].find("another device"), std::string::npos) << warnings[1];
  nn::save_tensors(file, {{"rng.cpu", at::zeros({1, 3}, at::kByte)}});
  ToyTask third({});
  EXPECT_THROW(train_toy(third, options, dir / "run"), DataError);
}

TEST(Trainer, SaysThatAnEarlierVersionWroteACheckpoint) {
  const TempFolder dir;
  ToyTask task({}), again({});
  auto options = toy_training(4);
  train_toy(task, options, dir / "run");
  const fs::path file = dir / "run" / "checkpoints/last/state.json";
  auto state = load_json(file);
  state.erase("format");
  save_json(file, state);
  options.resume = true;
  try {
    train_toy(again, options, dir / "run");
    FAIL() << "its positions cannot be read";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("earlier version"), std::string::npos) << error.what();
  }
}

// What lies ahead of the loop must not count: a task whose data take their time, or none.
TEST(Trainer, SavesThePositionOfWhatWasUsedNotOfWhatWasDrawnAhead) {
  const TempFolder dir;
  RowsTask task(2);
  TrainerOptions options;
  options.max_steps = 7;
  options.accumulate = 3;
  train_toy(task, options, dir / "run");
  const auto state = CheckpointStore(dir / "run" / "checkpoints").read_state("last");
  EXPECT_EQ(state["data"], json::parse(R"([{"first": 0, "at": 21}])"));
}

TEST(Trainer, BadOptionsAreRefused) {
  const TempFolder dir;
  ToyTask task({});
  auto options = toy_training(0);
  EXPECT_THROW(train_toy(task, options, dir / "run"), UsageError);
}

}  // namespace
}  // namespace parapet::test
