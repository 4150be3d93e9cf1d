// Activations against their formula in float64, gradients included.
#include <cmath>

#include "nn/nn_goldens.h"
#include "parapet/nn/layers.h"

namespace parapet::nn::test {
namespace {

// As many values as fill several tasks of the pool and leave a remainder for the last vector.
at::Tensor spread() { return at::linspace(-12, 12, 70'001); }

at::Tensor quick_gelu_exactly(const at::Tensor& x) { return x * at::sigmoid(x * 1.702); }

struct Pass {
  at::Tensor out, grad;
};

Pass run(const at::Tensor& values, const at::Tensor& dy) {
  const at::Tensor x = leaf(values);
  Pass pass;
  pass.out = activate(x, Activation::kQuickGelu);
  pass.out.backward(dy);
  pass.grad = x.grad();
  return pass;
}

Pass run_exactly(const at::Tensor& values, const at::Tensor& dy) {
  const at::Tensor x = leaf(values.to(at::kDouble));
  Pass pass;
  pass.out = quick_gelu_exactly(x);
  pass.out.backward(dy.to(at::kDouble));
  pass.grad = x.grad();
  return pass;
}

// The largest error in units of the value itself; below `floor` in units of that.
double relative(const at::Tensor& ours, const at::Tensor& exact, double floor) {
  const at::Tensor apart = (ours.to(at::kDouble) - exact).abs();
  return (apart / exact.abs().clamp_min(floor)).max().item<double>();
}

TEST(QuickGelu, FloatIsExactToAFewUnitsInTheLastPlace) {
  const at::Tensor x = spread(), dy = at::linspace(-1, 2, x.numel());
  const Pass ours = run(x, dy), exact = run_exactly(x, dy);
  EXPECT_LT(relative(ours.out, exact.out, 1e-9), 2e-6);
  // The derivative passes through zero, where only its absolute error means anything.
  EXPECT_LT(relative(ours.grad, exact.grad, 0.1), 2e-6);
}

TEST(QuickGelu, BFloat16RoundsOnceAtTheEnd) {
  const at::Tensor x = spread().to(at::kBFloat16);
  const at::Tensor dy = at::linspace(-1, 2, x.numel()).to(at::kBFloat16);
  const Pass ours = run(x, dy), exact = run_exactly(x, dy);
  ASSERT_EQ(ours.out.scalar_type(), at::kBFloat16);
  ASSERT_EQ(ours.grad.scalar_type(), at::kBFloat16);
  // Half a unit in the last of eight binary places.
  const double half_unit = std::exp2(-8);
  EXPECT_LT(relative(ours.out, exact.out, 1e-9), 1.01 * half_unit);
  EXPECT_LT(relative(ours.grad, exact.grad, 1e-4), 1.02 * half_unit);
}

TEST(QuickGelu, BFloat16RoundsTiesToEvenAsTorchDoes) {
  const at::Tensor x = spread().to(at::kBFloat16);
  const at::Tensor wide = run(x.to(at::kFloat), at::ones_like(x, at::kFloat)).out;
  EXPECT_TRUE(at::equal(run(x, at::ones_like(x)).out, wide.to(at::kBFloat16)));
}

TEST(QuickGelu, NotANumberStaysOne) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = at::full({40}, std::nan(""), type);
    const Pass ours = run(x, at::ones_like(x));
    EXPECT_TRUE(ours.out.isnan().all().item<bool>());
    EXPECT_TRUE(ours.grad.isnan().all().item<bool>());
  }
}

TEST(QuickGelu, StridedInputAndGradientEqualDenseOnes) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = at::linspace(-4, 4, 600).view({30, 20}).to(type);
    const at::Tensor dy = at::linspace(-1, 1, 600).view({30, 20}).to(type);
    const Pass dense = run(x, dy), strided = run(x.t().contiguous().t(), dy);
    EXPECT_LT(apart(dense.out.to(at::kFloat), strided.out.to(at::kFloat)), 0.05);
    EXPECT_LT(apart(dense.grad.to(at::kFloat), strided.grad.to(at::kFloat)), 0.05);
  }
}

}  // namespace
}  // namespace parapet::nn::test
