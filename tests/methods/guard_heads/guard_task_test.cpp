// Guard heads trained on made-up embeddings: each means against bias must narrow the gap that plain
// training leaves, adversarial training must harden, a resumed run must end the same.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "parapet/attacks/adversary.h"
#include "parapet/core/random.h"
#include "parapet/methods/guard_heads/filter_task.h"
#include "parapet/training/distributed.h"
#include "parapet/training/trainer.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

constexpr int64_t kDim = 16;

// Axis 0 carries harm with much noise, axis 1 the group without any. In training 90 % of group "b"
// is harmful and 90 % of "a" benign; when balanced, half of each.
struct Made {
  FilterSet set;
  FilterEmbeddings embeds;
  Made(int64_t n, bool balanced, uint64_t seed, const FilterOptions& options) {
    Random random(seed);
    std::vector<LabelSample> samples;
    embeds.image = at::zeros({1, n, kDim});
    float* row = embeds.image.data_ptr<float>();
    for (int64_t i = 0; i < n; ++i, row += kDim) {
      const bool harmful = random.chance(0.5), same = balanced || random.chance(0.9);
      const bool b = balanced ? random.chance(0.5) : harmful == same;
      LabelSample sample;
      sample.id = std::to_string(i);
      sample.image = sample.text = "x";
      sample.labels["fire"] = harmful ? "explicit" : "none";
      sample.attributes = {{"unsafe_side", "both"},
                           {"kind", harmful ? "explicit" : "safe"},
                           {"group", b ? "b" : "a"}};
      samples.push_back(std::move(sample));
      for (int64_t c = 0; c < kDim; ++c) row[c] = static_cast<float>(0.3 * random.normal());
      row[0] = static_cast<float>((harmful ? 0.6 : -0.6) + 0.6 * random.normal());
      row[1] = b ? 0.8f : -0.8f;
    }
    embeds.image = embeds.image / embeds.image.norm(2, {2}, true);
    embeds.text = embeds.image.clone();
    set = make_filter_set(std::move(samples), {"fire"}, options, !balanced);
  }
};

FilterOptions base_options() {
  FilterOptions options;
  options.hidden = 16;
  options.batch = 128;
  options.bias.balance = "none";
  options.bias.group = "group";
  options.loss.class_balance = false;
  return options;
}

struct Trained {
  HeadNet net;
  at::Tensor probability, truth, group;  // of a balanced test set
  at::Tensor image;
  double gap() const {  // between the groups' mean scores of benign items
    const auto mean = [&](int64_t g) {
      return probability.masked_select(truth.eq(0) * group.eq(g)).mean().item<double>();
    };
    return mean(1) - mean(0);
  }
  double accuracy(const at::Tensor& p) const {
    return p.gt(0.5).eq(truth.gt(0.5)).to(at::kFloat).mean().item<double>();
  }
};

// Small tensors: threads would only wait for each other.
struct OneThread {
  int before = at::get_num_threads();
  OneThread() { at::set_num_threads(1); }
  ~OneThread() { at::set_num_threads(before); }
};

Trained train_heads(const FilterOptions& options) {
  const OneThread one_thread;
  const Made data(1500, false, 1, options), test(2000, true, 2, options), none(0, true, 3, options);
  const ClipAssets assets;
  const FilterInputs inputs(data.set, assets, 77, options.augment, 0);
  const FilterInputs test_inputs(test.set, assets, 77, options.augment, 0);
  Trained out;
  out.net = HeadNet::random(kDim, options.hidden, 1, 0);
  FilterTaskInputs in;
  in.train = &inputs;
  in.train_embeds = &data.embeds;
  in.base_lr = 1e-2;
  FilterTask task(out.net, options, in);
  TrainerOptions trainer;
  trainer.log_every = 1000;
  trainer.max_steps = 120;
  trainer.lr = 1e-2;
  trainer.checkpoint_every = 0;
  const test::TempFolder run;
  at::manual_seed(1);
  const auto communicator = make_communicator({}, "cpu");
  train(task, trainer, run.path(), *communicator, {});
  out.probability =
      task.logits_of(test_inputs, test.embeds, *communicator).harm[2].select(1, 1).sigmoid();
  out.truth = test.set.targets.harm[2].select(1, 1);
  out.group = test.set.targets.group;
  out.image = test.embeds.image[0];
  return out;
}

const Trained& plain() {
  static const Trained trained = train_heads(base_options());
  return trained;
}

// Labels that do not say which pairs match must not teach that every pair contradicts itself.
TEST(GuardContradiction, NeedsPairsThatMatch) {
  const OneThread one_thread;
  const FilterOptions options = base_options();
  for (const bool known : {true, false}) {
    Made data(200, false, 1, options);
    if (!known) data.set.targets.contradiction.fill_(-1);
    const ClipAssets assets;
    const FilterInputs inputs(data.set, assets, 77, options.augment, 0);
    HeadNet net = HeadNet::random(kDim, options.hidden, 1, 0);
    FilterTaskInputs in;
    in.train = &inputs;
    in.train_embeds = &data.embeds;
    FilterTask task(net, options, in);
    task.parameters();
    double contradiction = -1;
    FilterDraw drawn;
    ASSERT_TRUE(task.batches(*make_communicator({}, "cpu"))->next(drawn));
    for (const auto& term : task.loss(drawn, {}).terms)
      if (std::string(term.name) == "contradiction") contradiction = term.value.item<double>();
    if (known)
      EXPECT_GT(contradiction, 0.1);
    else
      EXPECT_EQ(contradiction, 0);
  }
}

TEST(GuardBias, PlainTrainingLearnsTheGroup) { EXPECT_GT(plain().gap(), 0.3); }

TEST(GuardBias, BalancingNarrowsTheGap) {
  for (const char* balance : {"resample", "reweight"}) {
    FilterOptions options = base_options();
    options.bias.balance = balance;
    options.bias.balance_by = {"group"};
    const Trained trained = train_heads(options);
    EXPECT_LT(std::abs(trained.gap()), plain().gap() / 3) << balance;
    EXPECT_GT(trained.accuracy(trained.probability), plain().accuracy(plain().probability));
  }
}

TEST(GuardBias, ScoreAlignmentNarrowsTheGap) {
  FilterOptions options = base_options();
  options.bias.score_alignment = 30;
  const Trained trained = train_heads(options);
  EXPECT_LT(std::abs(trained.gap()), plain().gap() / 2);
}

TEST(GuardBias, GradientReversalNarrowsTheGap) {
  FilterOptions options = base_options();
  options.bias.gradient_reversal = 1;
  const Trained trained = train_heads(options);
  EXPECT_LT(std::abs(trained.gap()), plain().gap() * 0.8);
}

TEST(GuardAdversary, TrainingOnChangedEmbeddingsHardens) {
  FilterOptions options = base_options();
  options.bias.balance = "resample";
  options.bias.balance_by = {"group"};
  const Trained soft = train_heads(options);
  options.adversary.kind = "pgd";
  options.adversary.epsilon = 0.3;
  options.adversary.weight = 2;
  const Trained hard = train_heads(options);
  const auto attacked = [](const Trained& trained) {
    AdversaryOptions attack;
    attack.kind = "pgd";
    attack.epsilon = 0.3;
    const auto loss = [&](const at::Tensor& i, const at::Tensor& t) {
      return at::binary_cross_entropy_with_logits(trained.net.forward(i, t).harm[2].select(1, 1),
                                                  trained.truth);
    };
    const auto changed = adversarial_embeddings(trained.image, trained.image, loss, attack);
    const at::NoGradGuard no_grad;
    return trained.accuracy(
        trained.net.forward(changed[0], changed[1]).harm[2].select(1, 1).sigmoid());
  };
  EXPECT_LT(attacked(soft), soft.accuracy(soft.probability) - 0.1);  // the attack works
  EXPECT_GT(attacked(hard), attacked(soft) + 0.03);
}

}  // namespace
}  // namespace parapet
