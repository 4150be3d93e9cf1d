#include "parapet/data/world_build.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "data/atlas_fixture.h"
#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/data/dataset.h"
#include "parapet/data/zeroshot.h"
#include "parapet/formats/image.h"
#include "parapet/formats/tar.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

WorldBuildOptions small() {
  WorldBuildOptions options;
  options.quadruplets = 30;
  options.captions = 20;
  options.labels = 40;
  options.val = 8;
  options.test = 10;
  options.test_held_style = 6;
  options.per_class = 1;
  options.per_shard = 25;
  return options;
}

// Relative path -> content hash.
std::map<std::string, std::string> digest(const fs::path& folder) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file())
      out[fs::relative(entry.path(), folder).string()] = sha256_file(entry.path());
  return out;
}

TEST(WorldBuild, SameSeedSameBytesInBothFormats) {
  const test::TempFolder folder;
  const SampleWorld world = testing::make_world(11, {"en", "zh"});
  for (const std::string format : {"dir", "tar"}) {
    auto options = small();
    options.format = format;
    options.threads = 1;
    build_world(world, options, folder / (format + "1"));
    options.threads = 2;
    build_world(world, options, folder / (format + "2"));
    const auto one = digest(folder / (format + "1"));
    EXPECT_GT(one.size(), 6u);
    EXPECT_EQ(one, digest(folder / (format + "2")));
  }
  build_world(testing::make_world(12, {"en", "zh"}), small(), folder / "other");
  EXPECT_NE(sha256_file(folder / "dir1/quadruplets.jsonl"),
            sha256_file(folder / "other/quadruplets.jsonl"));
}

TEST(WorldBuild, WhatIsWrittenLoadsBack) {
  const test::TempFolder folder;
  const SampleWorld world = testing::make_world(11);
  for (const std::string format : {"dir", "tar"}) {
    auto options = small();
    options.format = format;
    const auto summary = build_world(world, options, folder / format);
    EXPECT_EQ(summary["counts"]["quadruplets"]["train"], 30);
    LoadOptions load;
    load.check_images = true;
    const auto quadruplets = load_quadruplets(folder / format, "test", load);
    ASSERT_EQ(quadruplets.size(), 10u);
    for (size_t i = 0; i < quadruplets.size(); ++i) {
      const auto drawn = world.quadruplet(WorldSplit::kTest, static_cast<int64_t>(i));
      EXPECT_EQ(quadruplets[i].id, drawn.id);
      EXPECT_EQ(quadruplets[i].unsafe_text, drawn.unsafe_text);
      EXPECT_EQ(load_image(quadruplets[i].safe_image).rgb, drawn.safe_image.rgb);
      EXPECT_EQ(load_image(quadruplets[i].unsafe_image).rgb, drawn.unsafe_image.rgb);
      EXPECT_EQ(quadruplets[i].attributes.at("mode"), drawn.replaced ? "replacement" : "injection");
    }
    EXPECT_EQ(load_captions(folder / format, "train", load).size(), 20u);
    EXPECT_EQ(load_labels(folder / format, "train", load).size(), 40u);
    EXPECT_EQ(load_labels(folder / format, "test_held_style", load).size(), 6u);
  }
}

TEST(WorldBuild, ShardsAreWebdatasetSamples) {
  const test::TempFolder folder;
  auto options = small();
  options.format = "tar";
  build_world(testing::make_world(), options, folder.path());
  ShardReader reader(folder / "quadruplets-000000.tar");
  ShardSample sample;
  int count = 0;
  while (reader.next(sample)) {
    ++count;
    EXPECT_EQ(sample.parts.count("safe.png"), 1u);
    EXPECT_EQ(sample.parts.count("unsafe.png"), 1u);
    EXPECT_EQ(nlohmann::json::parse(sample.parts.at("json"))["id"], sample.key);
  }
  EXPECT_EQ(count, 25);
}

TEST(WorldBuild, ZeroShotClasses) {
  const test::TempFolder folder;
  build_world(testing::make_world(), small(), folder.path());
  const ZeroShotSet set = load_zeroshot(folder.path());
  ASSERT_EQ(set.classes.size(), 48u);
  ASSERT_EQ(set.images.size(), 96u);
  int unsafe = 0;
  for (const auto& item : set.classes) {
    unsafe += item.unsafe;
    EXPECT_EQ(item.unsafe, !item.category.empty());
  }
  EXPECT_EQ(unsafe, 24);
  for (const auto& image : set.images) {
    EXPECT_EQ(load_image(image.image).width, 64);
    EXPECT_EQ(image.style == "fluent-emoji-flat", image.split == "test_held_style");
  }
  EXPECT_EQ(fill_template("a photo of {a}", "umbrella"), "a photo of an umbrella");
  EXPECT_EQ(fill_template("a photo of {a}", "crossed swords"), "a photo of crossed swords");
  EXPECT_EQ(fill_template("a photo of {a}", "glass of milk"), "a photo of a glass of milk");
  EXPECT_EQ(fill_template("a {} here", "key"), "a key here");
}

TEST(WorldBuild, BadZeroShotFiles) {
  const test::TempFolder folder;
  const auto load = [&](const std::string& content) {
    write_file_atomic(folder / "zeroshot.json", content);
    return load_zeroshot(folder.path());
  };
  EXPECT_THROW(load("[]"), DataError);
  EXPECT_THROW(load(R"({"templates": [], "classes": [{"name": "a"}], "images": [{}]})"), DataError);
  EXPECT_THROW(load(R"({"templates": ["{}"], "classes": [{"name": "a"}],
                        "images": [{"image": "x", "class": 1}]})"),
               DataError);
  EXPECT_THROW(load(R"({"templates": ["{}"], "classes": [], "images": [{"image": "x"}]})"),
               DataError);
}

TEST(WorldBuild, RefusesFullFoldersAndImpossibleSizes) {
  const test::TempFolder folder;
  const SampleWorld world = testing::make_world();
  build_world(world, small(), folder / "a");
  EXPECT_THROW(build_world(world, small(), folder / "a"), UsageError);
  auto options = small();
  options.test = world.capacity(WorldSplit::kTest) + 1;
  EXPECT_THROW(build_world(world, options, folder / "b"), UsageError);
  options = small();
  options.quadruplets = options.captions = options.labels = 0;
  EXPECT_THROW(build_world(world, options, folder / "c"), UsageError);
}

TEST(WorldBuild, StopsWhenCancelledLeavingNoRecords) {
  const test::TempFolder folder;
  const std::atomic<bool> cancel{true};
  Context context;
  context.cancel = &cancel;
  EXPECT_THROW(build_world(testing::make_world(), small(), folder.path(), context), Cancelled);
  EXPECT_FALSE(fs::exists(folder / "quadruplets.jsonl"));
  EXPECT_FALSE(fs::exists(folder / "world.json"));
}

}  // namespace
}  // namespace parapet
