// Whole runs of harden_safe_clip on a tiny CLIP, for what only happens between their parts.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/tiny_clip.h"
#include "parapet/core/error.h"
#include "parapet/engine/cache/cached_encoder.h"
#include "parapet/methods/safe_clip/harden.h"
#include "parapet/training/single_process.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

class HardenRun : public ::testing::Test {
 protected:
  HardenRun() {
    test::write_tiny_clip(folder_ / "model", {.layers = 1}, 1);
    fs::create_directories(folder_ / "data");
    test::write_pictures(folder_ / "data", 12);
    std::string rows;
    for (int i = 0; i < 6; ++i) {
      const auto name = [](int k) { return "picture" + std::to_string(k) + ".png"; };
      rows += nlohmann::json({{"id", "q" + std::to_string(i)},
                              {"safe_text", "a boat " + std::to_string(i)},
                              {"unsafe_text", "a boat on fire " + std::to_string(i)},
                              {"safe_image", name(2 * i)},
                              {"unsafe_image", name(2 * i + 1)},
                              {"category", "fire"},
                              {"split", i < 4 ? "train" : "val"}})
                  .dump() +
              "\n";
    }
    // Told before the model's files are hashed.
    rows += "no JSON\n";
    write_file_atomic(folder_ / "data/quadruplets.jsonl", rows);
    options_.model = (folder_ / "model").string();
    options_.data = (folder_ / "data").string();
    options_.reference_cache = (folder_ / "cache").string();
    options_.on_bad_sample = "skip";
    options_.dtype = "fp32";
    options_.harden.batch = 2;
    options_.lora.r = 2;
    options_.trainer.max_steps = 1;
    options_.trainer.validate_every = 0;
    options_.trainer.patience = 0;
  }

  // `told` hears every message.
  SafeClipResult run(const std::string& name, const std::function<void(std::string_view)>& told) {
    fs::create_directories(folder_ / name);
    SingleProcess world;
    Context context;
    context.log_sink = [&](LogLevel, std::string_view text) { told(text); };
    return harden_safe_clip(options_, RunDirectory(folder_ / name), world, context);
  }
  // By renaming, as a new model is put in place.
  void replace_model() {
    ClipModel other = ClipModel::random(ClipConfig::load(folder_ / "model"), 2);
    other.save(folder_ / "other");
    fs::rename(folder_ / "other/model.safetensors", folder_ / "model/model.safetensors");
  }

  test::TempFolder folder_;
  SafeClipOptions options_;
};

TEST_F(HardenRun, WeightsReplacedBetweenLoadingAndHashingAreRefusedAndNothingIsKept) {
  bool replaced = false;
  try {
    run("run", [&](std::string_view text) {
      if (replaced || text.find("bad samples") == std::string_view::npos) return;
      replace_model();
      replaced = true;
    });
    FAIL() << "trained on one model under the hash of another";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("model.safetensors"), std::string::npos)
        << error.what();
  }
  EXPECT_TRUE(replaced);
  EXPECT_FALSE(fs::exists(folder_ / "cache" / EmbeddingStore::kFileName));
  // The new model is hardened with references of its own.
  EXPECT_EQ(run("again", [](std::string_view) {}).training.steps, 1);
}

// Ranks look the references up from devices of their own: the device's number is no part of a key.
TEST_F(HardenRun, RanksShareTheKeysOfTheirReferences) {
  EncoderOptions first, second;
  first.device = "cuda:0";
  second.device = "cuda:3";
  EXPECT_EQ(encoder_key(options_.model, first), encoder_key(options_.model, second));
}

// What trains is told to the user with its size, and one tower takes less than both.
TEST_F(HardenRun, MemoryIsToldBeforeTheFirstStep) {
  std::vector<std::string> told;
  const SafeClipResult both = run("both", [&](std::string_view text) { told.emplace_back(text); });
  EXPECT_TRUE(std::any_of(told.begin(), told.end(), [](const std::string& text) {
    return text.starts_with("training takes about");
  }));
  options_.harden.towers = "image";
  const SafeClipResult image = run("image", [](std::string_view) {});
  ASSERT_TRUE(both.training.memory && image.training.memory);
  EXPECT_LT(image.training.memory->need.memory.activations,
            both.training.memory->need.memory.activations);
  EXPECT_GT(image.training.memory->need.memory.activations, 0);
}

}  // namespace
}  // namespace parapet
