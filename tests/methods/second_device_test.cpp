// Steps and validations of every task on a second device: equal to the CPU's, and never with
// tensors of both devices in one operation, which that device refuses.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "methods/safe_clip/harden_fixture.h"
#include "parapet/core/error.h"
#include "parapet/data/world_captions.h"
#include "parapet/methods/contrastive/task.h"
#include "parapet/methods/guard_heads/filter_task.h"
#include "parapet/nn/lora_off.h"
#include "parapet/training/distributed.h"
#include "parapet/training/trainer.h"
#include "support/second_device.h"

namespace parapet {
namespace {

struct Outcome {
  std::map<std::string, double> numbers;
  std::vector<at::Tensor> gradients;
};

// One step's loss, terms and gradients, and a validation.
template <class Task, class Batch>
Outcome run_task(Task& task, Batch batch, Communicator& world) {
  StepInfo info;
  info.total_steps = 10;
  info.communicator = &world;
  const auto parameters = task.parameters();
  const StepLoss loss = task.loss(batch, info);
  loss.total.backward();
  Outcome out;
  out.numbers["loss"] = loss.total.template item<double>();
  for (const auto& term : loss.terms)
    out.numbers["term." + term.name] = term.value.template item<double>();
  for (const auto& [name, value] : task.validate(info)) out.numbers["validation." + name] = value;
  for (const auto& parameter : parameters) {
    const at::Tensor gradient = parameter.tensor.grad();
    if (!gradient.defined()) continue;
    EXPECT_EQ(gradient.device(), parameter.tensor.device()) << parameter.name;
    out.gradients.push_back(gradient.cpu());
  }
  return out;
}

void expect_equal(const Outcome& a, const Outcome& b) {
  ASSERT_EQ(a.numbers.size(), b.numbers.size());
  for (const auto& [name, value] : a.numbers)
    EXPECT_NEAR(value, b.numbers.at(name), 1e-5 * std::max(1.0, std::abs(value))) << name;
  ASSERT_EQ(a.gradients.size(), b.gradients.size());
  ASSERT_FALSE(a.gradients.empty());
  for (size_t i = 0; i < a.gradients.size(); ++i)
    EXPECT_TRUE(at::allclose(a.gradients[i], b.gradients[i], 1e-3, 1e-6)) << i;
}

const at::Device kDevices[] = {at::kCPU, {at::kPrivateUse1, 0}};

class HardenOnADevice : public test::HardenTest {};

TEST_F(HardenOnADevice, StepsAndValidatesAsOnTheCpu) {
  const auto alone = make_communicator({}, "cpu");
  const DirectoryQuadruplets set(items_, pipeline_);
  for (const char* objective : {"ordered", "safe_clip", "safer_clip", "shield_clip"})
    for (const bool live : {false, true}) {
      if (live && std::string(objective) == "safer_clip") continue;  // it needs a table
      std::vector<Outcome> outcomes;
      for (const at::Device device : kDevices) {
        ClipModel model = tuned();
        QuadrupletEmbeddings table;
        {
          const nn::LoraOff off;
          table = references(model, *alone);
        }
        nn::move_to(model, device);
        const auto original = live ? live_references(model) : table_references(table);
        ObjectiveOptions loss;
        loss.name = objective;
        HardenOptions options;
        options.batch = 6;
        options.validation_chunk = 5;
        HardenTask task(model, options, loss, {&set, original.get(), &set, original.get()}, 20.0,
                        1);
        HardenBatch batch;
        ASSERT_TRUE(task.batches(*alone)->next(batch));
        outcomes.push_back(run_task(task, batch, *alone));
      }
      SCOPED_TRACE(std::string(objective) + (live ? ", live" : ", table"));
      expect_equal(outcomes[0], outcomes[1]);
    }
}

TEST_F(HardenOnADevice, TheFrozenProbeHoldsAndSeesChanges) {
  const DirectoryQuadruplets set(items_, pipeline_);
  ClipModel model = tuned();
  nn::move_to(model, test::second_device());
  const FrozenProbe probe(model, set.load(0, 8));
  EXPECT_NO_THROW(probe.check());
  {
    const at::NoGradGuard no_grad;
    nn::each_parameter(model, [](const std::string& name, nn::Parameter& p) {
      if (name.ends_with("fc1.bias")) p.value.add_(1e-6);
    });
  }
  EXPECT_THROW(probe.check(), CheckFailed);
}

// A run that the CPU began goes on there, and the other way round.
TEST_F(HardenOnADevice, ARunChangesDevices) {
  const auto alone = make_communicator({}, "cpu");
  const DirectoryQuadruplets set(items_, pipeline_);
  const auto train_on = [&](const std::filesystem::path& run, at::Device device, int64_t steps,
                            bool resume) {
    ClipModel model = tuned();
    QuadrupletEmbeddings table;
    {
      const nn::LoraOff off;
      table = references(model, *alone);
    }
    nn::move_to(model, device);
    const auto original = table_references(table);
    HardenOptions options;
    options.batch = 6;
    HardenTask task(model, options, {}, {&set, original.get(), &set, original.get()}, 20.0, 1);
    TrainerOptions trainer;
    trainer.max_steps = steps;
    trainer.schedule = "constant";
    trainer.lr = 1e-2;
    trainer.resume = resume;
    train(task, trainer, run, *alone, {});
    std::vector<at::Tensor> weights;
    for (const auto& [name, tensor] : nn::lora_parameters(model)) weights.push_back(tensor.cpu());
    return weights;
  };
  const test::TempFolder runs;
  const auto expected = train_on(runs / "cpu", at::kCPU, 4, false);
  for (const bool forth : {true, false}) {
    const auto run = runs / (forth ? "forth" : "back");
    train_on(run, kDevices[forth ? 0 : 1], 2, false);
    const auto weights = train_on(run, kDevices[forth ? 1 : 0], 4, true);
    for (size_t i = 0; i < weights.size(); ++i)
      EXPECT_TRUE(at::allclose(weights[i], expected[i], 1e-3, 1e-4)) << forth << " " << i;
  }
}

TEST_F(HardenOnADevice, GuardHeadsStepAndValidateAsOnTheCpu) {
  const auto alone = make_communicator({}, "cpu");
  FilterOptions options;
  options.hidden = 8;
  options.batch = 8;
  options.embedding_noise = 0.1;
  options.bias.balance = "none";
  options.bias.group = "group";
  options.bias.gradient_reversal = 0.5;
  options.bias.score_alignment = 0.5;
  options.adversary.kind = "fgm";
  std::vector<LabelSample> samples;
  for (size_t i = 0; i < items_.size(); ++i) {
    LabelSample sample;
    sample.id = items_[i].id;
    sample.image = items_[i].safe_image;
    sample.text = items_[i].safe_text;
    sample.labels["fire"] = i % 3 == 0 ? "explicit" : "none";
    sample.attributes = {
        {"unsafe_side", "both"}, {"consistent", "yes"}, {"group", i % 2 == 0 ? "a" : "b"}};
    samples.push_back(std::move(sample));
  }
  const FilterSet set = make_filter_set(samples, {"fire"}, options, true);
  const FilterInputs inputs(set, assets_, 12, options.augment, 0);
  for (const char* mode : {"heads", "finetune"}) {
    options.mode = mode;
    std::vector<Outcome> outcomes;
    for (const at::Device device : kDevices) {
      ClipModel model = test::golden_clip();
      nn::move_to(model, device);
      const FilterEmbeddings embeds = embed_filter_set(inputs, model, 0, "", {}, *alone, {});
      HeadNet net = HeadNet::random(model.config().embedding_dim(), 8, 1, 0).on(device);
      FilterTaskInputs in;
      in.train = in.val = &inputs;
      in.train_embeds = in.val_embeds = &embeds;
      in.model = &model;
      in.assets = &assets_;
      FilterTask task(net, options, in);
      FilterDraw drawn;
      ASSERT_TRUE(task.batches(*alone)->next(drawn));
      at::manual_seed(1);  // of dropout and noise
      outcomes.push_back(run_task(task, drawn, *alone));
    }
    SCOPED_TRACE(mode);
    expect_equal(outcomes[0], outcomes[1]);
  }
}

// Noise with a key each.
class NoiseCaptions final : public CaptionSet {
 public:
  SourcePtr<CaptionBatch> open(int64_t, int64_t, int64_t) const override { return nullptr; }
  CaptionBatch validation(int64_t, int64_t, int64_t, int64_t) const override { return made(6); }
  static CaptionBatch made(int64_t n) {
    CaptionBatch batch;
    batch.pixels = PixelRows(n, ImageProcessor::clip_default(20));
    Random random(n);
    for (int64_t i = 0; i < n * batch.pixels.row_size(); ++i)
      batch.pixels.values[static_cast<size_t>(i)] = static_cast<float>(random.normal());
    batch.ids.count = n;
    batch.ids.width = 6;
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t t = 0; t < 5; ++t)
        batch.ids.values.push_back(static_cast<int64_t>(random.below(30)));
      batch.ids.values.push_back(30);
      batch.text_keys.push_back(i);
      batch.image_keys.push_back(i / 2);
    }
    auto world = std::make_shared<WorldLabels>();
    world->glyphs.assign(static_cast<size_t>(n * kGlyphs), 0);
    world->glyphs[3] = 1;
    world->colours.assign(static_cast<size_t>(n), 2);
    batch.world = world;
    return batch;
  }
};

TEST(ContrastiveOnADevice, StepsAndValidatesAsOnTheCpu) {
  const auto alone = make_communicator({}, "cpu");
  const NoiseCaptions captions;
  std::vector<Outcome> both, images;
  for (const at::Device device : kDevices) {
    const auto heads = [&](int64_t width, const char* name) {
      return WorldHeads::random(width, 1, name).on(device);
    };
    ClipModel model = test::golden_clip();
    nn::move_to(model, device);
    ContrastiveOptions options;
    options.auxiliary = 1;
    ContrastiveTask task(model, options, captions, heads(24, "image"), heads(16, "text"), *alone);
    both.push_back(
        run_task(task, CaptionTensors(NoiseCaptions::made(4), nn::Staging(device)), *alone));
    ClipModel other = test::golden_clip();
    nn::move_to(other, device);
    ImageWarmupTask warmup(other, heads(24, "image"), captions, captions, 4, 10, *alone);
    images.push_back(
        run_task(warmup, CaptionTensors(NoiseCaptions::made(4), nn::Staging(device)), *alone));
  }
  expect_equal(both[0], both[1]);
  expect_equal(images[0], images[1]);
}

}  // namespace
}  // namespace parapet
