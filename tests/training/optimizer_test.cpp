#include "parapet/training/optimizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "parapet/core/error.h"
#include "parapet/formats/safetensors.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/training/gradients.h"

namespace parapet {
namespace {

// Made by tools/goldens/training_optimizers.py with torch.optim.
class Golden {
 public:
  at::Tensor operator[](const std::string& name) const {
    const TensorView* view = archive_.find(name);
    EXPECT_NE(view, nullptr) << name;
    return nn::to_tensor(*view).clone();
  }

 private:
  TensorArchive archive_ = TensorArchive::open(std::string(PARAPET_SOURCE_DIR) +
                                               "/tests/goldens/training/optimizers.safetensors");
};

at::Tensor leaf(const at::Tensor& value) { return value.clone().set_requires_grad(true); }

void expect_close(const at::Tensor& got, const at::Tensor& want, const std::string& what) {
  EXPECT_LE((got - want).abs().max().item<float>(), 2e-6f) << what;
}

class OptimizerGolden : public testing::TestWithParam<const char*> {};

TEST_P(OptimizerGolden, TenStepsEqualTorchOptim) {
  const std::string name = GetParam();
  const Golden golden;
  at::Tensor w = leaf(golden["start.w"]), b = leaf(golden["start.b"]);
  TrainerOptions options;
  options.optimizer = name;
  options.weight_decay = 0.1;
  Optimizer optimizer({{"w", w, 1.0, true}, {"b", b, 0.5, false}}, options);
  for (int64_t i = 0; i < 10; ++i) {
    w.mutable_grad() = golden["grad.w"][i].clone();
    b.mutable_grad() = golden["grad.b"][i].clone();
    optimizer.step(0.01 * static_cast<double>(i + 1));
    const std::string step = " after step " + std::to_string(i + 1);
    expect_close(w.detach(), golden[name + ".w"][i], "w" + step);
    expect_close(b.detach(), golden[name + ".b"][i], "b" + step);
  }
  for (const auto& [key, value] : optimizer.state()) {
    if (key == "w.exp_avg") expect_close(value, golden[name + ".w.exp_avg"], key);
    if (key == "w.exp_avg_sq") expect_close(value, golden[name + ".w.exp_avg_sq"], key);
    if (key == "b.step") EXPECT_EQ(value.item<float>(), 10.f);
  }
}
INSTANTIATE_TEST_SUITE_P(Kinds, OptimizerGolden, testing::Values("adam", "adamw"));

TEST(Optimizer, LeavesParametersWithoutGradientAlone) {
  at::Tensor used = leaf(at::ones({2})), unused = leaf(at::ones({2}));
  TrainerOptions options;
  options.weight_decay = 0.5;
  Optimizer optimizer({{"used", used, 1.0, true}, {"unused", unused, 1.0, true}}, options);
  used.mutable_grad() = at::ones({2});
  EXPECT_EQ(optimizer.gradients().size(), 1u);
  optimizer.step(0.1);
  EXPECT_TRUE(unused.equal(at::ones({2})));
  EXPECT_FALSE(used.equal(at::ones({2})));
  EXPECT_EQ(optimizer.state()[5].second.item<float>(), 0.f) << optimizer.state()[5].first;
  optimizer.zero_grad();
  EXPECT_TRUE(optimizer.gradients().empty());
}

// A thousand steps of 1e-4 on weights near 1, where bfloat16's steps are 4e-3 to 8e-3.
TEST(Optimizer, Bfloat16WeightsFollowFloat32) {
  TrainerOptions options;
  options.weight_decay = 0.01;
  const at::Tensor start = at::linspace(0.5, 1.5, 64);
  at::Tensor wide = leaf(start.to(at::kBFloat16).to(at::kFloat)),
             narrow = leaf(start.to(at::kBFloat16)), plain = leaf(start.to(at::kBFloat16));
  Optimizer reference({{"w", wide, 1.0, true}}, options);
  Optimizer mixed({{"w", narrow, 1.0, true}}, options);
  at::Tensor exp_avg = at::zeros({64}), exp_avg_sq = at::zeros({64});
  const at::Tensor target = at::zeros({64});
  for (int step = 1; step <= 1000; ++step) {
    for (auto [w, optimizer] : {std::pair(&wide, &reference), std::pair(&narrow, &mixed)}) {
      optimizer->zero_grad();
      for (int micro = 0; micro < 2; ++micro) {
        (w->to(at::kFloat) - target).square().sum().backward();
        optimizer->collect();
      }
      optimizer->step(1e-4);
    }
    // What the update would be on bfloat16 weights themselves.
    const at::NoGradGuard no_grad;
    const at::Tensor grad = 4 * plain.to(at::kFloat);
    exp_avg = options.beta1 * exp_avg + (1 - options.beta1) * grad;
    exp_avg_sq = options.beta2 * exp_avg_sq + (1 - options.beta2) * grad.square();
    const at::Tensor update = exp_avg / (1 - std::pow(options.beta1, step)) /
                              ((exp_avg_sq / (1 - std::pow(options.beta2, step))).sqrt() + 1e-8);
    plain.copy_(plain.to(at::kFloat) * (1 - 1e-4 * 0.01) - 1e-4 * update);
  }
  const double moved = (wide.detach() - start).abs().mean().item<double>();
  EXPECT_GT(moved, 0.08);
  // The reference's gradient is of the unrounded weights: half a step of bfloat16, 2^-9 of the
  // value, and a little of what that changes in the gradients.
  const at::Tensor apart = (narrow.detach().to(at::kFloat) - wide.detach()).abs();
  EXPECT_TRUE(apart.le(wide.detach().abs() / 256 + 1e-3).all().item<bool>()) << apart.max();
  const at::Tensor lost = (plain.detach().to(at::kFloat) - start).abs();
  EXPECT_LT(lost.mean().item<double>(), moved / 4) << "plain bfloat16 updates must be lost";
  EXPECT_EQ(mixed.state()[3].first, "w.master");
  EXPECT_TRUE(mixed.state()[3].second.to(at::kBFloat16).equal(narrow.detach()));
  EXPECT_TRUE(mixed.state()[0].second.scalar_type() == at::kFloat);
}

TEST(Optimizer, RefusesWhatItCannotTrain) {
  const TrainerOptions options;
  const auto w = leaf(at::ones({2}));
  EXPECT_THROW(Optimizer({}, options), UsageError);
  EXPECT_THROW(Optimizer({{"w", w}, {"w", leaf(w.detach())}}, options), UsageError);
  EXPECT_THROW(Optimizer({{"w", at::ones({2})}}, options), UsageError);
  EXPECT_THROW(Optimizer({{"w", w * 2}}, options), UsageError);
  EXPECT_THROW(Optimizer({{"w", leaf(at::ones({2}, at::kDouble))}}, options), UsageError);
}

TEST(Gradients, ClippingEqualsTorch) {
  const Golden golden;
  std::vector<at::Tensor> gradients = {golden["grad.w"][0].clone(), golden["grad.b"][0].clone()};
  const double norm = gradient_norm(gradients).item<double>();
  EXPECT_NEAR(norm, golden["clip.norm"].item<float>(), 1e-5);
  clip_gradients(gradients, norm, 0.5);
  expect_close(gradients[0], golden["clip.w"], "w");
  expect_close(gradients[1], golden["clip.b"], "b");
  EXPECT_NEAR(gradient_norm(gradients).item<double>(), 0.5, 1e-5);
}

TEST(Gradients, SmallNormAndLimitZeroChangeNothing) {
  std::vector<at::Tensor> gradients = {at::full({4}, 0.1)};
  const auto before = gradients[0].clone();
  clip_gradients(gradients, gradient_norm(gradients).item<double>(), 1.0);
  clip_gradients(gradients, 5.0, 0.0);
  EXPECT_TRUE(gradients[0].equal(before));
  gradients[0][1] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(gradient_norm(gradients).item<double>()));
  EXPECT_EQ(gradient_norm({}).item<double>(), 0);
}

}  // namespace
}  // namespace parapet
