// Contrastive training on captions that are a pure function of their number.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "methods/golden_clip.h"
#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/methods/contrastive/task.h"
#include "parapet/training/distributed.h"

namespace parapet {
namespace {

class NumberedCaptions final : public IndexedCaptions {
 public:
  explicit NumberedCaptions(uint64_t seed) : seed_(seed) {}

  CaptionBatch batch(int64_t index, int64_t size) const override {
    if (index == broken) throw DataError("caption source", "batch " + std::to_string(index));
    CaptionBatch out;
    out.pixels = at::empty({size, 3, 20, 20}, at::kFloat);
    out.ids = at::empty({size, 12}, at::kLong);
    out.glyphs = at::zeros({size, kGlyphs}, at::kFloat);
    out.colours = at::empty({size}, at::kLong);
    for (int64_t i = 0; i < size; ++i) {
      Random random(seed_, static_cast<uint64_t>(index * size + i));
      float* pixels = out.pixels.select(0, i).data_ptr<float>();
      for (int64_t p = 0; p < 3 * 20 * 20; ++p) pixels[p] = static_cast<float>(random.normal());
      int64_t* ids = out.ids.select(0, i).data_ptr<int64_t>();
      for (int64_t t = 0; t < 12; ++t) ids[t] = static_cast<int64_t>(random.below(30));
      ids[11] = 30;
      for (int g = 0; g < 3; ++g) out.glyphs[i][static_cast<int64_t>(random.below(kGlyphs))] = 1;
      out.colours[i] = static_cast<int64_t>(random.below(kColours));
    }
    return out;
  }
  CaptionBatch validation(int64_t count) const override { return batch(1000, count); }

  int64_t broken = -1;  // this batch cannot be read

 private:
  uint64_t seed_;
};

class Contrastive : public ::testing::Test {
 protected:
  StepInfo step(int64_t number) {
    StepInfo info;
    info.step = number;
    info.total_steps = 100;
    info.communicator = communicator_.get();
    return info;
  }
  ContrastiveTask contrastive(ClipModel& model, int64_t batch, int64_t rank = 0, int64_t world = 1,
                              double auxiliary = 0) {
    ContrastiveOptions options;
    options.batch = batch;
    options.auxiliary = auxiliary;
    options.validation_samples = 6;
    return ContrastiveTask(model, options, scenes_, WorldHeads::random(24, 1, "image"),
                           WorldHeads::random(16, 1, "text"), rank, world);
  }
  ImageWarmupTask warmup(ClipModel& model, int64_t batch) {
    return ImageWarmupTask(model, WorldHeads::random(24, 1, "image"), singles_, scenes_, batch, 0,
                           1);
  }

  NumberedCaptions singles_{1}, scenes_{2};
  std::unique_ptr<Communicator> communicator_ = make_communicator({}, "cpu");
};

// Gradients of `micros` losses, each weighted 1 / micros, as the training loop sums them.
std::vector<at::Tensor> gradients(TrainingTask& task, const StepInfo& info, int64_t micros) {
  const auto parameters = task.parameters();
  for (int64_t i = 0; i < micros; ++i)
    (task.loss(info).total / static_cast<double>(micros)).backward();
  std::vector<at::Tensor> list;
  for (const auto& p : parameters)
    list.push_back(p.tensor.grad().defined() ? p.tensor.grad() : at::zeros_like(p.tensor));
  return list;
}

double apart(const std::vector<at::Tensor>& a, const std::vector<at::Tensor>& b) {
  double most = 0;
  for (size_t i = 0; i < a.size(); ++i)
    most = std::max(most, (a[i] - b[i]).abs().max().item<double>());
  return most;
}

TEST_F(Contrastive, AccumulatedWarmUpEqualsOneBigBatch) {
  ClipModel one = test::golden_clip(), two = test::golden_clip();
  auto big = warmup(one, 8), small = warmup(two, 4);
  const auto a = gradients(big, step(0), 1), b = gradients(small, step(0), 2);
  ASSERT_EQ(a.size(), b.size());
  EXPECT_LE(apart(a, b), 1e-5);
  double largest = 0;
  for (const auto& g : a) largest = std::max(largest, g.abs().max().item<double>());
  EXPECT_GT(largest, 1e-2);
}

TEST_F(Contrastive, AccumulationHasFewerNegatives) {
  ClipModel one = test::golden_clip(), two = test::golden_clip();
  auto big = contrastive(one, 8), small = contrastive(two, 4);
  EXPECT_GT(apart(gradients(big, step(0), 1), gradients(small, step(0), 2)), 1e-3);
}

TEST_F(Contrastive, RanksShareABatchBetweenThem) {
  ClipModel one = test::golden_clip(), two = test::golden_clip();
  // Rank 1 of two sees the second batch of four, as the second draw of one process does.
  auto alone = contrastive(one, 4), second = contrastive(two, 4, 1, 2);
  alone.loss(step(0));
  EXPECT_EQ(alone.loss(step(0)).total.item<float>(), second.loss(step(0)).total.item<float>());
}

TEST_F(Contrastive, StateContinuesWhereItWasSaved) {
  ClipModel model = test::golden_clip();
  auto first = contrastive(model, 4, 0, 1, 0.5);
  for (int64_t i = 0; i < 3; ++i) first.loss(step(i));
  const auto state = first.state();
  const double next = first.loss(step(3)).total.item<double>();
  const double later = first.loss(step(4)).total.item<double>();
  ASSERT_NE(next, later);
  auto second = contrastive(model, 4, 0, 1, 0.5);
  second.loss(step(0));  // with a batch drawn ahead, which must be dropped
  second.restore(state);
  EXPECT_EQ(second.loss(step(3)).total.item<double>(), next);
  EXPECT_EQ(second.loss(step(4)).total.item<double>(), later);
}

TEST_F(Contrastive, WarmUpStateHoldsBothStreams) {
  ClipModel model = test::golden_clip();
  auto first = warmup(model, 4);
  for (int64_t i : {0, 1, 30, 31, 32}) first.loss(step(i));
  const auto state = first.state();
  EXPECT_EQ(state.at("singles"), 2);
  EXPECT_EQ(state.at("scenes"), 3);
  const double single = first.loss(step(2)).total.item<double>();
  const double scene = first.loss(step(33)).total.item<double>();
  auto second = warmup(model, 4);
  second.restore(state);
  EXPECT_EQ(second.loss(step(2)).total.item<double>(), single);
  EXPECT_EQ(second.loss(step(33)).total.item<double>(), scene);
}

TEST_F(Contrastive, ErrorOfABatchDrawnAheadComesWhenItIsUsed) {
  ClipModel model = test::golden_clip();
  scenes_.broken = 1;
  auto task = contrastive(model, 4);
  EXPECT_NO_THROW(task.loss(step(0)));
  EXPECT_THROW(task.loss(step(1)), DataError);
  task.restore({{"batches", 0}});
  EXPECT_NO_THROW(task.loss(step(0)));
  task.restore({{"batches", 2}});  // past the broken batch, which had been drawn ahead
  EXPECT_NO_THROW(task.loss(step(2)));
}

TEST_F(Contrastive, AuxiliaryFadesAndScaleStaysInBounds) {
  ClipModel model = test::golden_clip();
  auto task = contrastive(model, 4, 0, 1, 0.5);
  EXPECT_EQ(task.loss(step(79)).terms.size(), 2u);
  EXPECT_EQ(task.loss(step(80)).terms.size(), 1u);
  task.parameters();
  {
    const at::NoGradGuard no_grad;
    model.logit_scale().value.fill_(9.0);
  }
  task.after_step(step(80));
  EXPECT_NEAR(model.logit_scale().value.exp().item<double>(), 100.0, 1e-3);
}

TEST_F(Contrastive, ValidationIsWithoutDropout) {
  ClipModel model = test::golden_clip();
  nn::LoraOptions lora;
  lora.dropout = 0.5;
  nn::add_lora(model.linears(), lora, 3);
  for (auto& [name, tensor] : nn::lora_parameters(model.linears())) {
    const at::NoGradGuard no_grad;
    tensor.uniform_(-0.2, 0.2);
  }
  auto task = contrastive(model, 4);
  model.set_training(true);
  const auto once = task.validate(step(0));
  EXPECT_EQ(once.at("loss"), task.validate(step(0)).at("loss"));
  EXPECT_NE(task.loss(step(0)).total.item<double>(), [&] {
    task.restore({{"batches", 0}});
    return task.loss(step(0)).total.item<double>();
  }()) << "dropout must act again afterwards";
}

}  // namespace
}  // namespace parapet
