// Gradient checkpointing: equal to the plain pass to the bit.
#include "parapet/nn/recompute.h"

#include <optional>

#include "nn/nn_goldens.h"
#include "parapet/core/error.h"
#include "parapet/nn/linear.h"
#include "parapet/nn/lora.h"
#include "parapet/nn/lora_off.h"

namespace parapet::nn::test {
namespace {

// Two residual layers with dropout between them; `shared` is used in both.
struct Net {
  at::Tensor first = leaf(values({6, 6}, 1)), second = leaf(values({6, 6}, 2)),
             shared = leaf(values({6}, 3));
  mutable int passes = 0;

  at::Tensor layer(const at::Tensor& x, const at::Tensor& weight) const {
    ++passes;
    return x + at::dropout(at::tanh(at::mm(x, weight)) * shared, 0.3, true) + x * shared;
  }
  at::Tensor forward(const at::Tensor& x, bool again) const {
    at::Tensor y = x;
    for (const at::Tensor& weight : {first, second}) {
      const auto pass = [this, weight](const std::vector<at::Tensor>& in) {
        return layer(in[0], weight);
      };
      y = again ? recompute(pass, {y}) : pass({y});
    }
    return y;
  }
};

struct Gradients {
  at::Tensor out, x, first, second, shared, drawn_after;
};

Gradients run(bool again, bool input_trains) {
  at::manual_seed(5);
  Net net;
  const at::Tensor x = input_trains ? leaf(values({4, 6}, 4)) : values({4, 6}, 4);
  const at::Tensor out = net.forward(x, again);
  (out * out).sum().backward();
  EXPECT_EQ(net.passes, again ? 4 : 2);
  return {out.detach(),      x.grad(),          net.first.grad(),
          net.second.grad(), net.shared.grad(), at::rand({3})};
}

TEST(Recompute, GradientsAndRandomNumbersAreEqualToTheBit) {
  for (const bool input_trains : {true, false}) {
    const Gradients plain = run(false, input_trains), again = run(true, input_trains);
    EXPECT_TRUE(at::equal(again.out, plain.out));
    EXPECT_TRUE(at::equal(again.first, plain.first));
    EXPECT_TRUE(at::equal(again.second, plain.second));
    EXPECT_TRUE(at::allclose(again.shared, plain.shared, 1e-5));  // a sum in another order
    EXPECT_TRUE(at::equal(again.drawn_after, plain.drawn_after));
    ASSERT_EQ(again.x.defined(), input_trains);
    if (input_trains) EXPECT_TRUE(at::equal(again.x, plain.x));
  }
}

TEST(Recompute, SeveralInputsOfWhichOneTrains) {
  const at::Tensor a = leaf(values({3}, 1)), b = values({3}, 2);
  const at::Tensor out =
      recompute([](const std::vector<at::Tensor>& in) { return in[0] * in[1] + in[1]; }, {a, b});
  out.sum().backward();
  EXPECT_TRUE(at::equal(a.grad(), b));
  EXPECT_FALSE(b.grad().defined());
}

TEST(Recompute, WithoutGradientsItIsThePlainCall) {
  const at::NoGradGuard no_grad;
  int passes = 0;
  const at::Tensor out = recompute(
      [&](const std::vector<at::Tensor>& in) {
        ++passes;
        return in[0] * 2;
      },
      {leaf(values({3}, 1))});
  EXPECT_FALSE(out.requires_grad());
  EXPECT_EQ(passes, 1);
}

TEST(Recompute, TheBackwardPassSeesTheAdaptersOfTheFirst) {
  Linear linear(3, 3, false);
  linear.weight().value = values({3, 3}, 1);
  linear.lora = std::make_unique<LoraAdapter>();
  linear.lora->a = leaf(values({2, 3}, 2));
  linear.lora->b = leaf(values({3, 2}, 3));
  const auto gradient = [&](bool off_before, bool off_behind) {
    const at::Tensor x = leaf(values({2, 3}, 4));
    at::Tensor out;
    {
      const LoraOff off(off_before);
      out = recompute(
          [&](const std::vector<at::Tensor>& in) { return at::tanh(linear.forward(in[0])); }, {x});
    }
    const LoraOff off(off_behind);
    out.sum().backward();
    return x.grad();
  };
  EXPECT_TRUE(at::equal(gradient(true, false), gradient(true, true)));
  EXPECT_TRUE(at::equal(gradient(false, true), gradient(false, false)));
  EXPECT_GT(apart(gradient(true, true), gradient(false, false)), 0.01);
}

TEST(Recompute, AFailureInTheSecondPassLeavesTheRandomNumbersAlone) {
  int passes = 0;
  const at::Tensor out = recompute(
      [&](const std::vector<at::Tensor>& in) {
        if (++passes == 2) throw DataError("pass", "failed");
        return at::dropout(in[0], 0.5, true);
      },
      {leaf(values({3}, 1))});
  at::manual_seed(9);
  EXPECT_ANY_THROW(out.sum().backward());
  const at::Tensor drawn = at::rand({3});
  at::manual_seed(9);
  EXPECT_TRUE(at::equal(drawn, at::rand({3})));
}

}  // namespace
}  // namespace parapet::nn::test
