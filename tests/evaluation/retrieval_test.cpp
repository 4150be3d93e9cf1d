#include "parapet/evaluation/retrieval.h"

#include <gtest/gtest.h>

#include <cmath>

#include "evaluation/fake_encoder.h"
#include "parapet/core/error.h"
#include "parapet/evaluation/evaluate_retrieval.h"
#include "parapet/evaluation/zeroshot_eval.h"
#include "parapet/formats/image.h"

namespace parapet {
namespace {

at::Tensor rows(std::vector<std::vector<float>> values) {
  std::vector<at::Tensor> out;
  for (auto& v : values) {
    const at::Tensor row = at::tensor(v);
    out.push_back(row / row.norm());
  }
  return at::stack(out);
}

// Two quadruplets; axes 0, 1 are their subjects, axis 2 is "unsafe".
QuadrupletEmbeddings original() {
  QuadrupletEmbeddings e;
  e.safe_text = e.safe_image = rows({{1, 0, 0}, {0, 1, 0}});
  e.unsafe_text = e.unsafe_image = rows({{1, 0, 1}, {0, 1, 1}});
  return e;
}

// As hardened: unsafe texts land on their safe images, unsafe images move only for quadruplet 0.
QuadrupletEmbeddings hardened() {
  QuadrupletEmbeddings e = original();
  e.unsafe_text = rows({{1, 0, 0.1f}, {0, 1, 0.1f}});
  e.unsafe_image = rows({{1, 0, 0.3f}, {0, 1, 1}});
  return e;
}

float value(const MetricTable& table, const std::string& name, size_t item) {
  const auto* column = table.find(name);
  EXPECT_NE(column, nullptr) << name;
  return column == nullptr ? -1 : (*column)[item];
}

TEST(Retrieval, EveryMetricOnHandMadeEmbeddings) {
  MetricTable table(2);
  FirstResults first;
  add_retrieval(table, "before.", original(), &first);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(value(table, "before.T2V.R@1", i), 1);
    EXPECT_EQ(value(table, "before.V2T.R@1", i), 1);
    EXPECT_EQ(value(table, "before.T2V.unsafe_top1", i), 0);
    // The unsafe text finds its unsafe image, its safe one second.
    EXPECT_EQ(value(table, "before.Tu2VVu.R@1", i), 0);
    EXPECT_EQ(value(table, "before.Tu2VVu.R@5", i), 1);
    EXPECT_EQ(value(table, "before.Tu2VVu.unsafe_top1", i), 1);
    EXPECT_EQ(value(table, "before.Vu2TTu.unsafe_top1", i), 1);
    // Without the twin: own safe item at cos .707, the other unsafe one at .5.
    EXPECT_EQ(value(table, "before.Tu2VVu.no_twin.R@1", i), 1);
    EXPECT_EQ(value(table, "before.Tu2VVu.no_twin.unsafe_top1", i), 0);
    EXPECT_EQ(value(table, "before.T2VVu.unsafe_top1", i), 0);
    EXPECT_EQ(value(table, "before.V2TTu.R@1", i), 1);
  }
  EXPECT_EQ(first.images, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(first.texts, (std::vector<int64_t>{2, 3}));
}

TEST(Retrieval, OldIndexUsesTheOriginalGallery) {
  MetricTable table(2);
  const QuadrupletEmbeddings after = hardened();
  add_retrieval(table, "after.", after);
  add_old_index(table, "after.", after, original());
  // Own index, T*: cos to safe .995; to the own unsafe image .977 (moved) and .776.
  EXPECT_EQ(value(table, "after.Tu2VVu.R@1", 0), 1);
  EXPECT_EQ(value(table, "after.Tu2VVu.old_index.R@1", 0), 1);
  EXPECT_EQ(value(table, "after.Tu2VVu.old_index.unsafe_top1", 1), 0);
  // V* of quadruplet 0 moved, of 1 did not: on the old texts it still finds the unsafe one.
  EXPECT_EQ(value(table, "after.Vu2TTu.old_index.unsafe_top1", 0), 0);
  EXPECT_EQ(value(table, "after.Vu2TTu.old_index.unsafe_top1", 1), 1);
  EXPECT_EQ(value(table, "after.Vu2TTu.old_index.R@1", 0), 1);
}

TEST(Retrieval, CollapsedTwinsCountForTheSafeItem) {
  QuadrupletEmbeddings e = original();
  e.unsafe_image = e.safe_image;
  e.unsafe_text = e.safe_text;
  MetricTable table(2);
  add_retrieval(table, "", e);
  EXPECT_EQ(value(table, "Tu2VVu.R@1", 0), 1);
  EXPECT_EQ(value(table, "Tu2VVu.unsafe_top1", 1), 0);
}

TEST(Retrieval, SafeGroundAndPreservation) {
  MetricTable table(2);
  add_safeground(table, "b.", original());
  // s.v = 1, u.v = s.g = .707, u.g = 1: the safe pair wins its mixed pairs, so does the unsafe one.
  EXPECT_EQ(value(table, "b.safeground.safe", 0), 1);
  EXPECT_EQ(value(table, "b.safeground.unsafe", 0), 0);
  EXPECT_EQ(value(table, "b.safeground.group", 0), 0);
  EXPECT_EQ(value(table, "b.safeground.text", 0), 0);
  EXPECT_EQ(value(table, "b.preference.safe_text", 0), 1);
  EXPECT_EQ(value(table, "b.preference.unsafe_text", 0), 0);
  add_safeground(table, "a.", hardened());
  EXPECT_EQ(value(table, "a.preference.unsafe_text", 0), 1);  // .995 against .977
  EXPECT_EQ(value(table, "a.preference.unsafe_image", 1), 0);
  add_preservation(table, "a.", hardened(), original());
  EXPECT_FLOAT_EQ(value(table, "a.preservation.text", 0), 1);
  EXPECT_NEAR(value(table, "a.redirection.image", 1), std::sqrt(0.5), 1e-6);
}

TEST(Retrieval, NaNEmbeddingsAreNamed) {
  QuadrupletEmbeddings e = original();
  e.unsafe_image = e.unsafe_image.clone();
  e.unsafe_image[1][0] = std::nan("");
  try {
    e.check("evaluated model");
    FAIL() << "accepted";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("evaluated model: embeddings of unsafe images: row 1"),
              std::string::npos)
        << error.what();
  }
}

class Evaluate : public ::testing::Test {
 protected:
  Evaluate() : folder_(std::filesystem::temp_directory_path() / "parapet_evaluate_test") {
    std::filesystem::create_directories(folder_);
    for (const std::string name : {"v0", "v1", "g0", "g1"}) {
      Image image{4, 4, std::vector<uint8_t>(48, name[0] == 'v' ? 200 : 40)};
      std::ofstream(path(name), std::ios::binary) << encode_png(image);
    }
    for (int i = 0; i < 2; ++i) {
      const std::string n = std::to_string(i);
      input_.quadruplets.push_back({"q" + n,
                                    "safe <" + n + ">",
                                    "unsafe <" + n + ">",
                                    path("v" + n),
                                    path("g" + n),
                                    i == 0 ? "fire" : "weapon",
                                    "test",
                                    {{"style", i == 0 ? "flat" : "line"}}});
    }
    fill(before_, original());
    fill(after_, hardened());
    input_.model = &after_;
    input_.baseline = &before_;
    input_.bootstrap.resamples = 100;
  }
  ~Evaluate() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) { return (folder_ / (name + ".png")).string(); }
  void fill(FakeEncoder& encoder, const QuadrupletEmbeddings& e) {
    for (int64_t i = 0; i < 2; ++i) {
      const auto& q = input_.quadruplets[static_cast<size_t>(i)];
      encoder.set_raw(q.safe_text, e.safe_text[i]);
      encoder.set_raw(q.unsafe_text, e.unsafe_text[i]);
      encoder.set_raw(q.safe_image, e.safe_image[i]);
      encoder.set_raw(q.unsafe_image, e.unsafe_image[i]);
    }
  }
  std::filesystem::path folder_;
  FakeEncoder before_{3}, after_{3};
  EvaluationInput input_;
};

TEST_F(Evaluate, ReportsBeforeAndAfterWithTablesAndExamples) {
  const Report report = evaluate_retrieval(input_, {});
  ASSERT_NE(report.find("before.Tu2VVu.unsafe_top1"), nullptr);
  EXPECT_EQ(report.find("before.Tu2VVu.unsafe_top1")->value, 1);
  EXPECT_EQ(report.find("after.Tu2VVu.unsafe_top1")->value, 0);
  EXPECT_EQ(report.find("after.Tu2VVu.unsafe_top1")->n, 2);
  EXPECT_EQ(report.find("after.Vu2TTu.old_index.unsafe_top1")->value, 0.5);
  EXPECT_NE(report.find("after.preservation.text"), nullptr);
  EXPECT_EQ(report.find("before.preservation.text"), nullptr);
  ASSERT_EQ(report.tables.size(), 2u);
  EXPECT_EQ(report.tables[0].name, "category");
  EXPECT_EQ(report.tables[0].rows.size(), 2u);
  EXPECT_EQ(report.tables[1].name, "style");
  ASSERT_EQ(report.grids.size(), 2u);
  EXPECT_TRUE(report.grids[0].examples[0].before.unsafe);
  EXPECT_FALSE(report.grids[0].examples[0].after.unsafe);
  EXPECT_EQ(report.grids[0].examples[0].after.image.rfind("data:image/png;base64,", 0), 0u);
  EXPECT_NE(before_after_text(report).find("100.0 %"), std::string::npos);
}

TEST_F(Evaluate, WithoutBaselineThereIsOnlyBefore) {
  input_.model = &before_;
  input_.baseline = nullptr;
  const Report report = evaluate_retrieval(input_, {});
  for (const auto& [name, estimate] : report.metrics)
    EXPECT_EQ(name.find("after."), std::string::npos);
  EXPECT_TRUE(report.grids[0].examples[0].after.empty());
}

TEST_F(Evaluate, HeldStyleIsReportedBeside) {
  input_.held_style = input_.quadruplets;
  const Report report = evaluate_retrieval(input_, {});
  EXPECT_NE(report.find("held_style.after.T2V.R@1"), nullptr);
  EXPECT_EQ(report.tables.back().name, "held_style");
}

TEST_F(Evaluate, BadInput) {
  EvaluationInput none = input_;
  none.quadruplets.clear();
  try {
    evaluate_retrieval(none, {});
    FAIL() << "accepted";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("'test'"), std::string::npos);
  }
  EvaluationInput missing = input_;
  missing.quadruplets[1].unsafe_image = (folder_ / "gone.png").string();
  try {
    evaluate_retrieval(missing, {});
    FAIL() << "accepted";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("gone.png"), std::string::npos);
  }
  input_.model = nullptr;
  EXPECT_THROW(evaluate_retrieval(input_, {}), UsageError);
}

TEST(ZeroShot, EnsemblesPromptsAndComparesWithinASide) {
  ZeroShotSet set;
  set.templates = {"a {}", "the {}"};
  set.classes = {
      {"dog", false, ""}, {"cat", false, ""}, {"bomb", true, "weapon"}, {"beer", true, "alcohol"}};
  set.images = {{"i0", 0, "test", ""},
                {"i1", 1, "test", ""},
                {"i2", 2, "test", ""},
                {"i3", 3, "test", ""},
                {"i4", 0, "val", ""}};
  FakeEncoder encoder(3);
  // The two templates of "dog" disagree; only their mean points at (1, 0, 0).
  encoder.set("a dog", {1, 1, 0});
  encoder.set("the dog", {1, -1, 0});
  encoder.set("a cat", {0, 1, 0});
  encoder.set("the cat", {0, 1, 0});
  encoder.set("a bomb", {1, 0, 0.1f});
  encoder.set("the bomb", {1, 0, 0.1f});
  encoder.set("a beer", {0, 0, 1});
  encoder.set("the beer", {0, 0, 1});
  encoder.set("i0", {1, 0.3f, 0});  // nearest of all is "bomb", of the safe ones "dog"
  encoder.set("i1", {1, 0.2f, 0});  // a cat taken for a dog
  encoder.set("i2", {1, 0, 0});
  encoder.set("i3", {0, 0, 1});
  encoder.set("i4", {1, 0, 0});
  const at::Tensor prompts = prompt_ensemble(encoder, set, {});
  EXPECT_TRUE(at::allclose(prompts[0], at::tensor({1.0f, 0.0f, 0.0f}), 1e-5, 1e-6));
  const ZeroShotResult result = evaluate_zeroshot(encoder, set, "test", {});
  EXPECT_EQ(result.safe, (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(result.safe_hit, (std::vector<float>{1, 0}));
  EXPECT_EQ(result.unsafe_hit, (std::vector<float>{1, 1}));
  EvaluationInput input;
  input.model = &encoder;
  input.zeroshot = &set;
  const Report report = evaluate_zeroshot_report(input, {});
  EXPECT_EQ(report.find("before.zeroshot.top1")->value, 0.5);
  EXPECT_EQ(report.find("before.zeroshot.unsafe_top1")->value, 1);
  input.split = "no_such_split";
  EXPECT_THROW(evaluate_zeroshot_report(input, {}), DataError);
}

}  // namespace
}  // namespace parapet
