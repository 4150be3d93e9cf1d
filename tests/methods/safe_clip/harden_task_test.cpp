// Hardening's data, references and validation: the same from one process and from two, and from a
// table or computed from each batch.
#include "parapet/methods/safe_clip/harden_task.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <fstream>

#include "methods/golden_clip.h"
#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/nn/lora.h"
#include "parapet/nn/lora_off.h"
#include "parapet/training/distributed.h"
#include "support/ranks.h"

namespace parapet {
namespace {

class LetterTokenizer final : public Tokenizer {
 public:
  std::vector<int32_t> encode(std::string_view text, const EncodeOptions&) const override {
    std::vector<int32_t> ids;
    for (const char c : text.substr(0, 10)) ids.push_back(c % 30);
    ids.push_back(eos_id());
    return ids;
  }
  std::string decode(const std::vector<int32_t>&, bool) const override { return {}; }
  int64_t vocab_size() const override { return 31; }
  int32_t token_id(std::string_view) const override { return -1; }
  int32_t bos_id() const override { return 0; }
  int32_t eos_id() const override { return 30; }
  int32_t pad_id() const override { return 30; }
  bool is_marker(int32_t id) const override { return id == eos_id(); }
  int64_t model_max_length() const override { return 12; }
};

class HardenTaskTest : public ::testing::Test {
 protected:
  HardenTaskTest() {
    assets_.tokenizer = std::make_shared<LetterTokenizer>();
    assets_.processor = ImageProcessor::clip_default(20);
    pipeline_.tokenizer = assets_.tokenizer;
    pipeline_.pixels = std::make_shared<PixelCache>(*assets_.processor, 1 << 20);
    Random random(5);
    for (int i = 0; i < 23; ++i) {
      Quadruplet item;
      item.id = std::to_string(i);
      item.safe_text = "safe" + std::string(1, static_cast<char>('a' + i));
      item.unsafe_text = "bad" + std::string(1, static_cast<char>('a' + i)) + "!";
      for (auto* location : {&item.safe_image, &item.unsafe_image}) {
        Image image{20, 20, std::vector<uint8_t>(20 * 20 * 3)};
        for (auto& byte : image.rgb) byte = static_cast<uint8_t>(random.below(256));
        *location = (folder_ / (std::to_string(files_++) + ".png")).string();
        std::ofstream(*location, std::ios::binary) << encode_png(image, 1);
      }
      items_.push_back(std::move(item));
    }
  }

  QuadrupletEmbeddings references(ClipModel& model, Communicator& world) {
    const auto encoder = with_pixels(wrap_encoder(model, assets_, {}), *pipeline_.pixels);
    return embed_references(*encoder, items_, world, {});
  }
  // An adapter that has learnt something.
  static ClipModel tuned() {
    ClipModel model = test::golden_clip();
    nn::add_lora(model, with_targets({}, model), 3);
    const at::NoGradGuard no_grad;
    int64_t number = 0;
    for (auto& [name, tensor] : nn::lora_parameters(model))
      tensor.copy_(at::sin(at::arange(tensor.numel(), at::kFloat) + number++).view(tensor.sizes()))
          .mul_(0.2);
    return model;
  }
  static StepInfo info(Communicator& world) {
    StepInfo out;
    out.total_steps = 10;
    out.communicator = &world;
    return out;
  }

  test::TempFolder folder_;
  ClipAssets assets_;
  QuadrupletPipeline pipeline_;
  std::vector<Quadruplet> items_;
  int files_ = 0;
};

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
  const auto kept = table_references(table, at::kCPU), live = live_references(model);
  for (const char* name : {"ordered", "shield_clip"}) {
    ObjectiveOptions objective;
    objective.name = name;
    const auto loss = [&](const References& of) {
      HardenOptions options;
      options.batch = 6;
      HardenTask task(model, options, objective, {&set, &of, nullptr, nullptr}, 20.0, 1);
      QuadrupletBatch batch;
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
