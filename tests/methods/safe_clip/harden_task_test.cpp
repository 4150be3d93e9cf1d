// Hardening's data, references and validation: the same from one process and from two, and from a
// table or computed from each batch.
#include "parapet/methods/safe_clip/harden_task.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "methods/safe_clip/harden_fixture.h"
#include "parapet/core/error.h"
#include "parapet/nn/lora_off.h"
#include "parapet/training/distributed.h"
#include "support/ranks.h"

namespace parapet {
namespace {

using HardenTaskTest = test::HardenTest;

double apart(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST_F(HardenTaskTest, TwoProcessesComputeTheReferencesOfOne) {
  ClipModel model = test::golden_clip();
  const auto alone = make_communicator({}, "cpu");
  const QuadrupletEmbeddings whole = references(model, *alone);
  ASSERT_EQ(whole.size(), 23);
  const int64_t decoded = pipeline_.pixels->decoded();
  EXPECT_EQ(decoded, 46);
  std::vector<QuadrupletEmbeddings> parts(2);
  test::on_ranks(2, [&](Communicator& world) {
    ClipModel own = test::golden_clip();
    parts[static_cast<size_t>(world.rank())] = references(own, world);
  });
  for (const auto& part : parts) {
    EXPECT_LE(apart(part.safe_text, whole.safe_text), 1e-6);
    EXPECT_LE(apart(part.unsafe_text, whole.unsafe_text), 1e-6);
    EXPECT_LE(apart(part.safe_image, whole.safe_image), 1e-6);
    EXPECT_LE(apart(part.unsafe_image, whole.unsafe_image), 1e-6);
  }
  EXPECT_EQ(pipeline_.pixels->decoded(), decoded) << "what was decoded once is kept";
}

// Chunks that the processes share evenly, unevenly, and one that leaves a process nothing.
TEST_F(HardenTaskTest, ValidationOfTwoProcessesEqualsOne) {
  for (const int64_t chunk : {4, 9, 100}) {
    HardenOptions options;
    options.validation_chunk = chunk;
    const auto validate = [&](Communicator& world) {
      ClipModel model = tuned();
      const DirectoryQuadruplets set(items_, pipeline_);
      const auto live = live_references(model);
      HardenTask task(model, options, {}, {&set, live.get(), &set, live.get()}, 20.0, 1);
      return task.validate(info(world));
    };
    const auto whole = validate(*make_communicator({}, "cpu"));
    EXPECT_GT(whole.at("loss"), 0);
    EXPECT_LT(whole.at("cos.safe_text"), 0.999) << "the adapter must do something";
    std::vector<std::map<std::string, double>> parts(2);
    test::on_ranks(2, [&](Communicator& world) {
      parts[static_cast<size_t>(world.rank())] = validate(world);
    });
    EXPECT_EQ(parts[0], whole) << chunk;
    EXPECT_EQ(parts[1], whole) << chunk;
  }
}

TEST_F(HardenTaskTest, ATableAndTheModelItselfGiveTheSameLoss) {
  ClipModel model = tuned();
  const DirectoryQuadruplets set(items_, pipeline_);
  const auto alone = make_communicator({}, "cpu");
  QuadrupletEmbeddings table;
  {
    const nn::LoraOff off;
    table = references(model, *alone);
  }
  const auto kept = table_references(table), live = live_references(model);
  for (const char* name : {"ordered", "shield_clip"}) {
    ObjectiveOptions objective;
    objective.name = name;
    const auto loss = [&](const References& of) {
      HardenOptions options;
      options.batch = 6;
      HardenTask task(model, options, objective, {&set, &of, nullptr, nullptr}, 20.0, 1);
      HardenBatch batch;
      EXPECT_TRUE(task.batches(*alone)->next(batch));
      return task.loss(batch, info(*alone)).total.item<double>();
    };
    EXPECT_NEAR(loss(*kept), loss(*live), 1e-5) << name;
  }
  ObjectiveOptions safer;
  safer.name = "safer_clip";
  EXPECT_NO_THROW(HardenTask(model, {}, safer, {&set, kept.get(), nullptr, nullptr}, 20.0, 1));
  EXPECT_THROW(HardenTask(model, {}, safer, {&set, live.get(), nullptr, nullptr}, 20.0, 1),
               UsageError);
}

}  // namespace
}  // namespace parapet
