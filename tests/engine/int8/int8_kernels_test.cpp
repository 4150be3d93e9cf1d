// The kernels against the same arithmetic written plainly in double precision.
#include "parapet/engine/int8/int8_kernels.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "parapet/core/random.h"

namespace parapet::int8 {
namespace {

at::Tensor uniform(at::IntArrayRef shape, double low, double high, uint64_t seed) {
  Random random = Random::named(seed, "int8_kernels_test");
  at::Tensor values = at::empty(shape, at::kFloat);
  float* data = values.data_ptr<float>();
  for (int64_t i = 0; i < values.numel(); ++i)
    data[i] = static_cast<float>(low + (high - low) * random.uniform());
  return values;
}

at::Tensor bytes_of(at::IntArrayRef shape, uint64_t seed) {
  return uniform(shape, 0, 255.99, seed).floor().to(at::kByte);
}

double largest(const at::Tensor& difference) {
  return difference.to(at::kDouble).abs().max().item<double>();
}

class Int8Kernels : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!supported()) GTEST_SKIP() << "no AVX-512 VNNI";
  }
};

struct Product {
  at::Tensor weight, bias, in;
  Linear linear;
  at::Tensor expected;  // double [rows, outputs]
  static constexpr float kLow = -1.25F, kStep = 0.02F;
  Product(int64_t rows, int64_t inputs, int64_t outputs)
      : weight(uniform({outputs, inputs}, -0.1, 0.1, 1)),
        bias(uniform({outputs}, -1, 1, 2)),
        in(bytes_of({rows, inputs}, 3)),
        linear(pack(weight, bias, kLow, kStep)) {
    const at::Tensor level = weight.abs().amax({1}, true) / 127;
    const at::Tensor rounded = (at::round(weight / level) * level).to(at::kDouble);
    expected = (in.to(at::kDouble) * kStep + kLow).matmul(rounded.t()) + bias.to(at::kDouble);
  }
};

// Every number of rows leaves other tiles at the end.
TEST_F(Int8Kernels, ProductsOfAnyNumberOfRows) {
  for (int64_t rows = 1; rows <= 20; ++rows) {
    const Product p(rows, 76, 128);
    at::Tensor out = at::full({rows, 128}, 7.0F);
    product(p.linear, p.in.const_data_ptr<uint8_t>(), rows, out.data_ptr<float>(), {0, 2});
    EXPECT_LT(largest(out - p.expected), 1e-3) << rows;
    product_add(p.linear, p.in.const_data_ptr<uint8_t>(), rows, out.data_ptr<float>(), {0, 2});
    EXPECT_LT(largest(out - 2 * p.expected), 2e-3) << rows;
  }
}

TEST_F(Int8Kernels, WritesItsPanelsOnly) {
  const Product p(9, 64, 192);
  at::Tensor out = at::zeros({9, 192});
  product(p.linear, p.in.const_data_ptr<uint8_t>(), 9, out.data_ptr<float>(), {1, 2});
  EXPECT_EQ(largest(out.slice(1, 0, 64)), 0);
  EXPECT_EQ(largest(out.slice(1, 128, 192)), 0);
  EXPECT_LT(largest(out.slice(1, 64, 128) - p.expected.slice(1, 64, 128)), 1e-3);
}

// The largest sums that 8 bits can make.
TEST_F(Int8Kernels, LargestSumsDoNotWrap) {
  const at::Tensor weight = at::ones({64, 8192});
  const Linear linear = pack(weight, {}, 0, 1);
  const at::Tensor in = at::full({2, 8192}, 255, at::kByte);
  at::Tensor out = at::empty({2, 64});
  product(linear, in.const_data_ptr<uint8_t>(), 2, out.data_ptr<float>(), {0, 1});
  EXPECT_LT(largest(out - 255.0 * 8192), 1);
}

TEST_F(Int8Kernels, BytesAreRoundedAndCut) {
  Product p(7, 64, 64);
  const float low = -0.5F, step = 0.004F;  // narrower than the outputs: both ends are cut
  const at::Tensor levels = at::round((p.expected - low) / step).clamp(0, 255);
  Linear bytes = p.linear;
  scale_output(bytes, low, step, 0);
  at::Tensor out = at::empty({7, 64}, at::kByte);
  product_bytes(bytes, p.in.const_data_ptr<uint8_t>(), 7, out.data_ptr<uint8_t>(), {0, 1});
  EXPECT_LE(largest(out - levels), 1);  // a tie may fall either way
  EXPECT_LT((out - levels).abs().mean(at::kDouble).item<double>(), 0.01);
  EXPECT_EQ(out.min().item<int>(), 0);
  EXPECT_EQ(out.max().item<int>(), 255);
  Linear signed_bytes = p.linear;
  scale_output(signed_bytes, low, step, -128);
  at::Tensor centred = at::empty({7, 64}, at::kChar);
  product_signed(signed_bytes, p.in.const_data_ptr<uint8_t>(), 7, centred.data_ptr<int8_t>(),
                 {0, 1});
  EXPECT_LE(largest(centred.to(at::kInt) + 128 - out.to(at::kInt)), 1);
}

TEST_F(Int8Kernels, ActivationsAreThoseOfTorch) {
  const Product p(11, 64, 64);
  const at::Tensor x = p.expected * 4;
  Linear linear = p.linear;
  scale_output(linear, 0, 0.25F, 0);
  using A = nn::Activation;
  const std::pair<A, at::Tensor> cases[] = {{A::kQuickGelu, x * at::sigmoid(1.702 * x)},
                                            {A::kGelu, at::gelu(x)},
                                            {A::kGeluTanh, at::gelu(x, "tanh")},
                                            {A::kSilu, at::silu(x)},
                                            {A::kRelu, at::relu(x)}};
  const at::Tensor gain = uniform({64}, 5, 9, 5);
  for (const auto& [activation, y] : cases) {
    at::Tensor out = at::empty({11, 64}, at::kByte);
    product_activated(linear, p.in.const_data_ptr<uint8_t>(), 11, activation,
                      gain.const_data_ptr<float>(), 100, out.data_ptr<uint8_t>(), {0, 1});
    const at::Tensor levels = at::round(y * gain + 100).clamp(0, 255);
    EXPECT_LE(largest(out - levels), 1) << static_cast<int>(activation);
    EXPECT_LT((out - levels).abs().mean(at::kDouble).item<double>(), 0.02)
        << static_cast<int>(activation);
  }
}

TEST_F(Int8Kernels, LayerNorm) {
  const at::Tensor x = uniform({5, 192}, -3, 9, 6), gain = uniform({192}, 0.5, 2, 7),
                   shift = uniform({192}, -1, 1, 8);
  const Norm norm{gain, shift, 1e-5F};
  const at::Tensor expected = at::layer_norm(x, {192}, gain, shift, 1e-5);
  at::Tensor out = at::zeros({5, 192});
  normalise(norm, x.const_data_ptr<float>(), 192, out.data_ptr<float>(), {1, 4});
  EXPECT_LT(largest((out - expected).slice(0, 1, 4)), 1e-5);
  EXPECT_EQ(largest(out.select(0, 0)) + largest(out.select(0, 4)), 0);
  const Norm to_bytes{gain * 40, shift * 40 + 120, 1e-5F};
  at::Tensor bytes = at::empty({5, 192}, at::kByte);
  normalise_bytes(to_bytes, x.const_data_ptr<float>(), 192, bytes.data_ptr<uint8_t>(), {0, 5});
  EXPECT_LE(largest(bytes - at::round(expected * 40 + 120).clamp(0, 255)), 1);
}

// Heads of every published width, lengths around the panel's, with and without causal masks.
TEST_F(Int8Kernels, Attention) {
  for (const int64_t width : {32, 64, 80, 104, 128})
    for (const int64_t length : {1, 7, 50, 64, 65, 257})
      for (const bool causal : {false, true}) {
        const int64_t stride = 2 * width;  // the second of two heads
        const at::Tensor q = bytes_of({length, stride}, 11),
                         v = uniform({length, stride}, -1, 1, 13);
        const at::Tensor k = (bytes_of({length, stride}, 12).to(at::kInt) - 128).to(at::kChar);
        const AttentionScales scales{.q_low = -0.3F,
                                     .q_step = 0.003F,
                                     .k_zero = 0.2F,
                                     .k_step = 0.02F,
                                     .out_low = -1,
                                     .out_step = 2.0F / 255};
        const auto part = [&](const at::Tensor& all) {
          return all.to(at::kDouble).slice(1, width, 2 * width);
        };
        at::Tensor scores = (part(q) * scales.q_step + scales.q_low)
                                .matmul((part(k) * scales.k_step + scales.k_zero).t());
        if (causal) {
          const at::Tensor behind = at::ones({length, length}, at::kBool).triu(1);
          scores = scores.masked_fill(behind, -1e30);
        }
        const at::Tensor mixed = scores.softmax(-1).matmul(part(v));
        const at::Tensor levels =
            at::round((mixed - scales.out_low) / scales.out_step).clamp(0, 255);
        at::Tensor out = at::full({length, stride}, 9, at::kByte);
        at::Tensor work = at::empty({attention_work(length, width)}, at::kByte);
        attend({.q = q.const_data_ptr<uint8_t>() + width,
                .k = k.const_data_ptr<int8_t>() + width,
                .v = v.const_data_ptr<float>() + width,
                .out = out.data_ptr<uint8_t>() + width,
                .stride = stride,
                .width = width,
                .queries = length,
                .length = length,
                .causal = causal},
               scales, work.data_ptr<uint8_t>());
        const at::Tensor difference = part(out) - levels;
        EXPECT_LE(largest(difference), 1) << width << " x " << length << (causal ? " causal" : "");
        EXPECT_LT(difference.abs().mean().item<double>(), 0.02) << width << " x " << length;
        EXPECT_EQ(largest(out.slice(1, 0, width).to(at::kInt) - 9), 0)
            << "the other head's columns";
      }
}

TEST_F(Int8Kernels, Projection) {
  const at::Tensor in = uniform({8, 96}, -1, 1, 20), matrix = uniform({96, 128}, -1, 1, 21);
  at::Tensor out = at::zeros({8, 128});
  project(matrix.const_data_ptr<float>(), in.const_data_ptr<float>(), 8, 96, 128,
          out.data_ptr<float>(), {0, 2});
  EXPECT_LT(largest(out - in.matmul(matrix)), 1e-4);
}

}  // namespace
}  // namespace parapet::int8
