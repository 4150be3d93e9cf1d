// The gate of `parapet quantize` on guard heads: what it lets through and what it stops.
#include "parapet/cli/guard_scoring.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "parapet/core/error.h"
#include "parapet/methods/guard_heads/head_net.h"
#include "parapet/methods/guard_heads/heads.h"
#include "support/item_encoder.h"
#include "support/temp_folder.h"

namespace parapet::cli {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kDim = 8;

// Unit rows that depend on the item's name, plus `noise` times other ones.
class Rows final : public test::ItemEncoder {
 public:
  explicit Rows(double noise) : noise_(noise) {}
  int64_t dim() const override { return kDim; }
  double logit_scale() const override { return 1; }

 private:
  at::Tensor rows(const std::vector<std::string>& items) override {
    at::Tensor out = at::empty({static_cast<int64_t>(items.size()), kDim}, at::kFloat);
    for (size_t i = 0; i < items.size(); ++i) {
      at::manual_seed(std::hash<std::string>()(items[i]));
      at::Tensor row = at::randn({kDim}) + noise_ * at::randn({kDim});
      out[static_cast<int64_t>(i)].copy_(row / row.norm());
    }
    return out;
  }
  double noise_;
};

class AurocGate : public ::testing::Test {
 protected:
  AurocGate() {
    HeadNet net = HeadNet::random(kDim, 4, 1, 3);
    GuardHeadsInfo info;
    info.categories = {"fire"};
    info.dim = kDim;
    info.hidden = 4;
    save_heads(folder.path(), net, info);
  }
  GuardHeads heads() const { return GuardHeads::load(folder.path()); }

  // Images and texts on their own, labelled by what the heads say of exact embeddings: AUROC 1.
  std::vector<LabelSample> samples(const char* only = "") const {
    std::vector<LabelSample> all;
    for (int i = 0; i < 120; ++i) {
      LabelSample sample;
      sample.id = std::to_string(i);
      if (i % 2 == 0) sample.image = "image " + sample.id;
      if (i % 2 == 1) sample.text = "text " + sample.id;
      if (*only != '\0' && (i % 2 == 0) != (std::string(only) == "image")) continue;
      all.push_back(sample);
    }
    Rows exact(0);
    const auto scores = score_samples(heads(), embed_samples(exact, all, {}), all);
    for (const size_t side : {0, 1}) {
      std::vector<double> values;
      for (const auto& row : scores)
        if (!std::isnan(row.harm[side])) values.push_back(row.harm[side]);
      std::sort(values.begin(), values.end());
      for (size_t i = 0; i < all.size(); ++i)
        if (!std::isnan(scores[i].harm[side]))
          all[i].labels["fire"] =
              scores[i].harm[side] > values[values.size() / 2] ? "explicit" : "none";
    }
    return all;
  }
  std::vector<GateResult> gates(double noise, double limit, const std::vector<LabelSample>& on) {
    Rows exact(0), changed(noise);
    Context context;
    context.log_sink = [this](LogLevel, std::string_view text) { log += text; };
    return auroc_gates(heads(), on, limit, exact, changed, context);
  }
  test::TempFolder folder;
  std::string log;
};

TEST_F(AurocGate, PassesWhereScoresKeepTheirOrder) {
  const auto result = gates(0, 0, samples());
  ASSERT_EQ(result.size(), 2u);
  EXPECT_EQ(result[0].name, "image.auroc_drop");
  EXPECT_EQ(result[1].name, "text.auroc_drop");
  for (const auto& gate : result) {
    EXPECT_TRUE(gate.passed);
    EXPECT_EQ(gate.value, 0);
    EXPECT_EQ(gate.reference, 1.0);
    EXPECT_EQ(gate.quantized, 1.0);
  }
  EXPECT_THAT(log, HasSubstr("joint"));  // no pairs among the samples: said, not skipped
}

TEST_F(AurocGate, StopsRuinedEmbeddings) {
  for (const auto& gate : gates(20, 0.002, samples())) {
    EXPECT_FALSE(gate.passed) << gate.name;
    EXPECT_GT(gate.value, 0.2);
    EXPECT_DOUBLE_EQ(gate.value, *gate.reference - *gate.quantized);
    EXPECT_EQ(gate.limit, 0.002);
  }
  for (const auto& gate : gates(20, 1, samples())) EXPECT_TRUE(gate.passed);
}

TEST_F(AurocGate, JudgesTheSidesThatAreThere) {
  const auto result = gates(0, 0, samples("text"));
  ASSERT_EQ(result.size(), 1u);
  EXPECT_EQ(result[0].name, "text.auroc_drop");
  auto benign = samples();
  for (auto& sample : benign) sample.labels.clear();
  EXPECT_THROW(gates(0, 0, benign), DataError);
}

}  // namespace
}  // namespace parapet::cli
