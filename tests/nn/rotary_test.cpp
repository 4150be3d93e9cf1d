#include "parapet/nn/rotary.h"

#include "nn/nn_goldens.h"
#include "parapet/core/error.h"

namespace parapet::nn::test {
namespace {

RotaryOptions options_of(const std::string& name) {
  RotaryOptions options;
  options.head_dim = 16;
  if (name == "linear") {
    options.scaling = RotaryScaling::kLinear;
    options.factor = 4;
  } else if (name == "llama3") {
    options.scaling = RotaryScaling::kLlama3;
    options.theta = 500000;
    options.factor = 8;
    options.original_max_positions = 64;
  } else if (name == "yarn") {
    options.scaling = RotaryScaling::kYarn;
    options.factor = 4;
    options.original_max_positions = 128;
  } else if (name == "sections") {
    options.theta = 1e6;
    options.sections = {2, 3, 3};
  }
  return options;
}

class Rotaries : public ::testing::TestWithParam<const char*> {};

TEST_P(Rotaries, EqualTransformersWithGradients) {
  const std::string name = GetParam();
  const Tensors goldens = golden("rotary");
  const Rotary rotary(options_of(name));
  const at::Tensor& inverse = goldens.at(name + ".inverse");
  EXPECT_LT(((rotary.inverse_frequencies() - inverse) / inverse).abs().max().item<double>(), 1e-6);
  const at::Tensor positions = goldens.at(name == "sections" ? "axes" : "positions");
  const RotaryTable table = rotary.table(positions, at::kFloat);
  const at::Tensor q = leaf(goldens.at("q")), k = leaf(goldens.at("k"));
  const at::Tensor turned_q = apply_rotary(q, table), turned_k = apply_rotary(k, table);
  ((turned_q * goldens.at("dq")).sum() + (turned_k * goldens.at("dk")).sum()).backward();
  // At place 131071 one rounding of a frequency turns the fastest pair by 1e-2 radians.
  const double close = 5e-2, near_close = 2e-5;
  for (const auto& [found, what] : {std::pair{turned_q, ".q"},
                                    {turned_k, ".k"},
                                    {q.grad(), ".grad.q"},
                                    {k.grad(), ".grad.k"}}) {
    const at::Tensor& expected = goldens.at(name + what);
    EXPECT_LT(apart(found, expected), close) << what;
    EXPECT_LT(apart(found.slice(2, 0, 4), expected.slice(2, 0, 4)), near_close) << what;
  }
}

INSTANTIATE_TEST_SUITE_P(Rotary, Rotaries,
                         ::testing::Values("plain", "linear", "llama3", "yarn", "sections"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Rotary, EqualAxesAreThePlainEmbedding) {
  const Tensors goldens = golden("rotary");
  RotaryOptions options = options_of("sections");
  const at::Tensor& positions = goldens.at("positions");
  const RotaryTable axes =
      Rotary(options).table(positions.unsqueeze(0).expand({3, -1, -1}), at::kFloat);
  options.sections.clear();
  const RotaryTable plain = Rotary(options).table(positions, at::kFloat);
  EXPECT_TRUE(at::equal(axes.cos, plain.cos));
  EXPECT_TRUE(at::equal(axes.sin, plain.sin));
}

TEST(Rotary, AnglesAreComputedInFloat32ForHalfTypes) {
  const Tensors goldens = golden("rotary");
  const Rotary rotary(options_of("plain"));
  const RotaryTable table = rotary.table(goldens.at("positions"), at::kBFloat16);
  EXPECT_EQ(table.cos.scalar_type(), at::kBFloat16);
  EXPECT_LT(apart(table.sin, rotary.table(goldens.at("positions"), at::kFloat).sin), 0.004);
  const at::Tensor q = goldens.at("q").to(at::kBFloat16);
  EXPECT_LT(apart(apply_rotary(q, table).slice(2, 0, 4), goldens.at("plain.q").slice(2, 0, 4)),
            0.04);
}

TEST(Rotary, ATransposedViewKeepsItsLayout) {
  const at::Tensor x = values({2, 5, 3, 8}, 1).transpose(1, 2);
  RotaryOptions options;
  options.head_dim = 8;
  const at::Tensor places = at::arange(5, at::kLong).unsqueeze(0);
  const RotaryTable table = Rotary(options).table(places, at::kFloat);
  const at::Tensor turned = apply_rotary(x, table);
  EXPECT_EQ(turned.strides(), x.strides());
  EXPECT_TRUE(at::equal(turned, apply_rotary(x.contiguous(), table)));
}

TEST(Rotary, BadOptionsAreRefused) {
  const auto refused = [](auto change) {
    RotaryOptions options = options_of("llama3");
    change(options);
    EXPECT_THROW(Rotary{options}, UsageError);
  };
  refused([](RotaryOptions& o) { o.head_dim = 15; });
  refused([](RotaryOptions& o) { o.theta = 0; });
  refused([](RotaryOptions& o) { o.factor = 0.5; });
  refused([](RotaryOptions& o) { o.high_freq_factor = 1; });
  refused([](RotaryOptions& o) { o.original_max_positions = 0; });
  refused([](RotaryOptions& o) { o.sections = {4, 3}; });
}

}  // namespace
}  // namespace parapet::nn::test
