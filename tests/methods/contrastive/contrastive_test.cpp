// Contrastive training on captions that are a pure function of their number.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "methods/golden_clip.h"
#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/data/sources/compose.h"
#include "parapet/data/sources/order.h"
#include "parapet/data/sources/share.h"
#include "parapet/data/world_captions.h"
#include "parapet/methods/contrastive/task.h"
#include "parapet/training/distributed.h"

namespace parapet {
namespace {

CaptionBatch numbered_batch(uint64_t seed, int64_t first, int64_t size) {
  CaptionBatch out;
  out.pixels = PixelRows(size, ImageProcessor::clip_default(20));
  out.ids.count = size;
  out.ids.width = 12;
  out.ids.values.resize(static_cast<size_t>(size * 12));
  auto world = std::make_shared<WorldLabels>();
  world->glyphs.resize(static_cast<size_t>(size * kGlyphs));
  for (int64_t i = 0; i < size; ++i) {
    Random random(seed, static_cast<uint64_t>(first + i));
    float* pixels = out.pixels.row(i);
    for (int64_t p = 0; p < 3 * 20 * 20; ++p) pixels[p] = static_cast<float>(random.normal());
    int64_t* ids = out.ids.row(i);
    for (int64_t t = 0; t < 12; ++t) ids[t] = static_cast<int64_t>(random.below(30));
    ids[11] = 30;
    for (int g = 0; g < 3; ++g)
      world->glyphs[static_cast<size_t>(i * kGlyphs) + random.below(kGlyphs)] = 1;
    world->colours.push_back(static_cast<int64_t>(random.below(kColours)));
    out.text_keys.push_back(first + i);
    out.image_keys.push_back(first + i);
  }
  out.world = world;
  return out;
}

class NumberedCaptions final : public CaptionSet {
 public:
  explicit NumberedCaptions(uint64_t seed) : seed_(seed) {}

  SourcePtr<CaptionBatch> open(int64_t size, int64_t rank, int64_t ranks) const override {
    return map<int64_t, CaptionBatch>(
        shard_by_rank(numbers_from(0), rank, ranks),
        [this, size](int64_t index) { return numbered_batch(seed_, index * size, size); });
  }
  CaptionBatch validation(int64_t count, int64_t chunk, int64_t rank,
                          int64_t ranks) const override {
    const RowRange own = share_of(count, chunk, rank, ranks);
    return numbered_batch(seed_, 10'000 + own.begin, own.size());
  }

 private:
  uint64_t seed_;
};

// One process of several that cannot talk: for what it draws.
class LoneRank final : public Communicator {
 public:
  LoneRank(int64_t rank, int64_t ranks) : rank_(rank), ranks_(ranks) {}
  int64_t rank() const override { return rank_; }
  int64_t world_size() const override { return ranks_; }
  void all_reduce_sum(std::vector<at::Tensor>&) override {}
  void broadcast(std::vector<at::Tensor>&, int64_t) override {}
  at::Tensor gather(const at::Tensor& tensor) override { return tensor; }
  void barrier() override {}
  void meet(const Context&) override {}

 private:
  int64_t rank_, ranks_;
};

// A task with the micro-batches that the training loop would hand it.
template <class Task>
struct Fed {
  Task task;
  SourcePtr<CaptionTensors> source;
  template <class... Arguments>
  explicit Fed(const Communicator& communicator, Arguments&&... arguments)
      : task(std::forward<Arguments>(arguments)..., communicator),
        source(task.batches(communicator)) {}
  StepLoss loss(const StepInfo& info) {
    CaptionTensors batch;
    EXPECT_TRUE(source->next(batch));
    return task.loss(batch, info);
  }
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
  using FedContrastive = Fed<ContrastiveTask>;
  FedContrastive contrastive(ClipModel& model, int64_t batch, int64_t rank = 0, int64_t world = 1,
                             double auxiliary = 0) {
    ContrastiveOptions options;
    options.batch = batch;
    options.auxiliary = auxiliary;
    options.validation_samples = 6;
    return FedContrastive(LoneRank(rank, world), model, options, scenes_,
                          WorldHeads::random(24, 1, "image"), WorldHeads::random(16, 1, "text"));
  }
  Fed<ImageWarmupTask> warmup(ClipModel& model, int64_t batch) {
    return Fed<ImageWarmupTask>(*communicator_, model, WorldHeads::random(24, 1, "image"), singles_,
                                scenes_, batch, int64_t{100});
  }

  NumberedCaptions singles_{1}, scenes_{2};
  std::unique_ptr<Communicator> communicator_ = make_communicator({}, "cpu");
};

// Gradients of `micros` losses, each weighted 1 / micros, as the training loop sums them.
template <class Task>
std::vector<at::Tensor> gradients(Fed<Task>& fed, const StepInfo& info, int64_t micros) {
  const auto parameters = fed.task.parameters();
  for (int64_t i = 0; i < micros; ++i)
    (fed.loss(info).total / static_cast<double>(micros)).backward();
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

TEST_F(Contrastive, PositionContinuesWhereItWasSaved) {
  ClipModel model = test::golden_clip();
  auto first = contrastive(model, 4, 0, 1, 0.5);
  for (int64_t i = 0; i < 3; ++i) first.loss(step(i));
  const auto position = first.source->position();
  const double next = first.loss(step(3)).total.item<double>();
  ASSERT_NE(next, first.loss(step(4)).total.item<double>());
  auto second = contrastive(model, 4, 0, 1, 0.5);
  second.loss(step(0));
  second.source->restore(position);
  EXPECT_EQ(second.loss(step(3)).total.item<double>(), next);
}

// A fifth of the 100 steps shows single glyphs, then scenes come from their own start.
TEST_F(Contrastive, WarmUpGoesFromSinglesToScenes) {
  ClipModel model = test::golden_clip();
  auto whole = warmup(model, 4), resumed = warmup(model, 4);
  CaptionTensors batch;
  std::vector<float> firsts;
  for (int64_t i = 0; i < 25; ++i) {
    if (i == 19) resumed.source->restore(whole.source->position());
    ASSERT_TRUE(whole.source->next(batch));
    firsts.push_back(batch.pixels[0][0][0][0].item<float>());
  }
  const auto pixel = [](uint64_t seed, int64_t index) {
    return numbered_batch(seed, index * 4, 4).pixels.row(0)[0];
  };
  EXPECT_EQ(firsts[19], pixel(1, 19));
  EXPECT_EQ(firsts[20], pixel(2, 0));
  EXPECT_EQ(firsts[24], pixel(2, 4));
  for (int64_t i = 19; i < 25; ++i) {
    ASSERT_TRUE(resumed.source->next(batch));
    EXPECT_EQ(batch.pixels[0][0][0][0].item<float>(), firsts[static_cast<size_t>(i)]) << i;
  }
}

// The same caption, or the same picture, in one batch twice is no negative of itself.
TEST_F(Contrastive, RowsThatSayTheSameAreNoNegatives) {
  ClipModel model = test::golden_clip();
  auto fed = contrastive(model, 4);
  const auto twice = [&](int64_t offset) {
    CaptionBatch batch = numbered_batch(2, 0, 2);
    std::copy_n(batch.pixels.row(0), batch.pixels.row_size(), batch.pixels.row(1));
    std::copy_n(batch.ids.row(0), 12, batch.ids.row(1));
    batch.text_keys = {0, offset};
    batch.image_keys = {0, 7};
    return CaptionTensors(batch, nn::Staging(at::kCPU));
  };
  CaptionTensors doubled = twice(0), unmasked = twice(1);
  EXPECT_NEAR(fed.task.loss(doubled, step(0)).total.item<double>(), 0, 1e-6);
  EXPECT_NEAR(fed.task.loss(unmasked, step(0)).total.item<double>(), std::log(2.0), 1e-4);
}

TEST_F(Contrastive, AuxiliaryFadesAndScaleStaysInBounds) {
  ClipModel model = test::golden_clip();
  auto task = contrastive(model, 4, 0, 1, 0.5);
  EXPECT_EQ(task.loss(step(79)).terms.size(), 2u);
  EXPECT_EQ(task.loss(step(80)).terms.size(), 1u);
  task.task.parameters();
  {
    const at::NoGradGuard no_grad;
    model.logit_scale().value.fill_(9.0);
  }
  task.task.after_step(step(80));
  EXPECT_NEAR(model.logit_scale().value.exp().item<double>(), 100.0, 1e-3);
}

TEST_F(Contrastive, ValidationIsWithoutDropout) {
  ClipModel model = test::golden_clip();
  nn::LoraOptions lora;
  lora.dropout = 0.5;
  nn::add_lora(model, with_targets(lora, model), 3);
  for (auto& [name, tensor] : nn::lora_parameters(model)) {
    const at::NoGradGuard no_grad;
    tensor.uniform_(-0.2, 0.2);
  }
  auto fed = contrastive(model, 4);
  model.set_training(true);
  const auto once = fed.task.validate(step(0));
  EXPECT_EQ(once.at("loss"), fed.task.validate(step(0)).at("loss"));
  CaptionTensors batch(numbered_batch(2, 0, 4), nn::Staging(at::kCPU));
  EXPECT_NE(fed.task.loss(batch, step(0)).total.item<double>(),
            fed.task.loss(batch, step(0)).total.item<double>())
      << "dropout must act again afterwards";
}

}  // namespace
}  // namespace parapet
