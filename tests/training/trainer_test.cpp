#include "parapet/training/trainer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/formats/jsonl.h"
#include "parapet/training/checkpoint.h"
#include "parapet/training/single_process.h"
#include "temp_dir.h"
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
  const TempDir dir;
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

// A loss whose gradient is known: the mean over micro-batches of 3, 5 and 10 times w.
class LinearTask final : public TrainingTask {
 public:
  at::Tensor w = at::ones({1}).set_requires_grad(true);

  std::vector<TrainableParameter> parameters() override { return {{"w", w, 1.0, false}}; }
  StepLoss loss(const StepInfo& info) override {
    const double slopes[] = {3, 5, 10};
    StepLoss loss;
    loss.total = (w * slopes[info.micro]).sum();
    loss.samples = 1;
    loss.terms = {{"slope", slopes[info.micro]}};
    return loss;
  }
  std::map<std::string, double> validate(const StepInfo&) override { return {}; }
  json state() const override { return json::object(); }
  void restore(const json&) override {}
};

TEST(Trainer, AccumulatesEveryMicroBatch) {
  const TempDir dir;
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
}

// Mean squared error over rows, so that micro-batch means average to the big batch's mean exactly
// (powers of two).
class RowsTask final : public TrainingTask {
 public:
  explicit RowsTask(int64_t batch) : batch_(batch) {}
  at::Tensor w = at::zeros({4}).set_requires_grad(true);

  std::vector<TrainableParameter> parameters() override { return {{"w", w, 1.0, true}}; }
  StepLoss loss(const StepInfo&) override {
    const auto rows = at::arange(next_ * 4, (next_ + batch_) * 4, at::kFloat).view({batch_, 4});
    next_ += batch_;
    const auto x = rows.remainder(16.0) / 8.0;
    StepLoss loss;
    loss.total = (at::matmul(x, w) - 1.0).square().mean();
    loss.samples = batch_;
    return loss;
  }
  std::map<std::string, double> validate(const StepInfo&) override { return {}; }
  json state() const override { return {{"next", next_}}; }
  void restore(const json& state) override { next_ = state.at("next"); }

 private:
  int64_t batch_, next_ = 0;
};

TEST(Trainer, AccumulationEqualsOneBigBatch) {
  const TempDir dir;
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
  const TempDir dir;
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
  const TempDir dir;
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
  const TempDir dir;
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
  StepLoss loss(const StepInfo& info) override {
    if (info.step == at_) flag_->store(true);
    return ToyTask::loss(info);
  }

 private:
  int64_t at_;
  std::atomic<bool>* flag_;
};

TEST(Trainer, CancelSavesAndResumeIsBitIdentical) {
  const TempDir dir;
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
  const TempDir dir;
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
  const TempDir dir;
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

 private:
  double validations_ = 0;
};

TEST(Trainer, StopsEarlyAndKeepsTheBest) {
  const TempDir dir;
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

TEST(Trainer, BadOptionsAreRefused) {
  const TempDir dir;
  ToyTask task({});
  auto options = toy_training(0);
  EXPECT_THROW(train_toy(task, options, dir / "run"), UsageError);
}

}  // namespace
}  // namespace parapet::test
