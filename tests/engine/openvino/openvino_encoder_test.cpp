// The OpenVINO backend against the torch backend on the same folder.
#include "parapet/engine/openvino/openvino_encoder.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <thread>

#include "engine/tiny_clip.h"
#include "parapet/core/error.h"
#include "parapet/engine/encoder/open_encoder.h"
#include "parapet/nn/lora.h"

namespace parapet {
namespace {

using test::TempFolder;
using test::TinyClipShape;
using ::testing::HasSubstr;

double least_cosine(const at::Tensor& a, const at::Tensor& b) {
  return (a * b).sum(-1).min().item<double>();
}

EncoderOptions options_for(const std::string& backend, const std::string& precision = "fp32") {
  EncoderOptions options;
  options.backend = backend;
  options.precision = precision;
  options.batch_images = 5;  // 7 inputs make a full and a partial batch
  options.batch_texts = 3;
  return options;
}

void expect_agreement(const TinyClipShape& shape) {
  const TempFolder folder;
  test::write_tiny_clip(folder.path(), shape);
  const auto images = test::write_pictures(folder.path(), 7);
  const auto texts = test::captions(7);
  const auto torch = open_encoder(folder.path(), options_for("torch"), {});
  const auto ours = open_encoder(folder.path(), options_for("openvino"), {});
  EXPECT_EQ(ours->dim(), torch->dim());
  EXPECT_NEAR(ours->logit_scale(), torch->logit_scale(), 1e-6);
  EXPECT_GE(least_cosine(ours->encode_images(images, {}), torch->encode_images(images, {})),
            0.99999);
  EXPECT_GE(least_cosine(ours->encode_texts(texts, {}), torch->encode_texts(texts, {})), 0.99999);
  EncodeStats stats;
  ours->encode_images(images, {}, &stats);
  EXPECT_EQ(stats.items, 7);
  EXPECT_GT(stats.decode_seconds, 0);
  ours->encode_texts(texts, {}, &stats);
  EXPECT_EQ(stats.items, 7);
  EXPECT_GT(stats.tokens, 7);
}

TEST(OpenVinoEncoder, AgreesWithTorchQuickGelu) { expect_agreement({}); }

TEST(OpenVinoEncoder, AgreesWithTorchGelu) {
  expect_agreement({.activation = nn::Activation::kGelu});
}

TEST(OpenVinoEncoder, AgreesWithTorchGeluTanh) {
  expect_agreement({.activation = nn::Activation::kGeluTanh});
}

// Legacy files pool at the largest id.
TEST(OpenVinoEncoder, AgreesWithTorchLegacyEndRule) { expect_agreement({.eos_token_id = 2}); }

// Pixels beyond the last whole patch are not used.
TEST(OpenVinoEncoder, AgreesWithTorchWhenPatchesDoNotFill) {
  expect_agreement({.image_size = 30, .patch_size = 8});
}

TEST(OpenVinoEncoder, ImagesInMemoryAndOneAtATimeGiveTheSame) {
  const TempFolder folder;
  test::write_tiny_clip(folder.path());
  const auto locations = test::write_pictures(folder.path(), 6);
  std::vector<Image> images;
  for (const auto& location : locations) images.push_back(load_image(location));
  for (const char* backend : {"torch", "openvino"}) {
    const auto encoder = open_encoder(folder.path(), options_for(backend), {});
    const at::Tensor from_files = encoder->encode_images(locations, {});
    const at::Tensor from_memory = encoder->encode_images(std::span<const Image>(images), {});
    EXPECT_GE(least_cosine(from_files, from_memory), 0.999999) << backend;
    for (size_t i = 0; i < images.size(); ++i) {
      const Image small = encoder->resized(images[i]);
      EXPECT_EQ(small.width, 32);
      const at::Tensor one = encoder->encode_images(std::span<const Image>(&small, 1), {});
      EXPECT_GE(least_cosine(one, from_files.slice(0, i, i + 1)), 0.999999) << backend;
    }
    EXPECT_EQ(encoder->encode_images(std::span<const Image>(), {}).size(0), 0);
    const Image broken{10, 10, {1, 2, 3}};
    EXPECT_THROW(encoder->encode_images(std::span<const Image>(&broken, 1), {}), DataError);
  }
}

TEST(OpenVinoEncoder, CallsFromManyThreadsAgree) {
  const TempFolder folder;
  test::write_tiny_clip(folder.path());
  const auto texts = test::captions(12);
  const auto encoder = open_encoder(folder.path(), options_for("openvino"), {});
  ASSERT_TRUE(encoder->thread_safe());
  const at::Tensor expected = encoder->encode_texts(texts, {});
  std::vector<at::Tensor> got(4);
  std::vector<std::thread> threads;
  for (auto& slot : got)
    threads.emplace_back([&] {
      for (int i = 0; i < 5; ++i) slot = encoder->encode_texts(texts, {});
    });
  for (auto& thread : threads) thread.join();
  for (const auto& rows : got) EXPECT_GE(least_cosine(rows, expected), 0.999999);
}

TEST(OpenVinoEncoder, AdapterActs) {
  const TempFolder folder, adapter;
  test::write_tiny_clip(folder.path());
  ClipModel model = ClipModel::load(folder.path());
  nn::LoraOptions lora{.r = 4};
  nn::add_lora(model, with_targets(lora, model), 3);
  nn::each_linear(model, [](const std::string&, nn::Linear& linear) {
    if (linear.lora) linear.lora->b = at::randn_like(linear.lora->b).detach().mul_(0.1);
  });
  nn::save_lora(model, lora, adapter.path(), {.model = "tiny"});
  const auto texts = test::captions(5);
  EncoderOptions with = options_for("openvino"), reference = options_for("torch");
  with.adapter = reference.adapter = adapter.path().string();
  const auto plain = open_encoder(folder.path(), options_for("openvino"), {});
  const auto adapted = open_encoder(folder.path(), with, {});
  const at::Tensor rows = adapted->encode_texts(texts, {});
  EXPECT_GE(least_cosine(rows, open_encoder(folder.path(), reference, {})->encode_texts(texts, {})),
            0.99999);
  EXPECT_LT(least_cosine(rows, plain->encode_texts(texts, {})), 0.999);
  EXPECT_NE(adapted->identity(), plain->identity());
}

// Embeddings are kept under it: whatever changes them must change it.
TEST(EncoderIdentity, FollowsAllThatEmbeddingsDependOn) {
  const TempFolder folder, adapter;
  test::write_tiny_clip(folder.path(), {.layers = 1});
  const auto identity = [&](const std::string& backend, const std::string& lora = "") {
    EncoderOptions options = options_for(backend);
    options.adapter = lora;
    return open_encoder(folder.path(), options, {})->identity();
  };
  const auto change = [&](const char* name, const std::string& from, const std::string& to) {
    std::string text = read_file(folder / name);
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << name;
    write_file_atomic(folder / name, text.replace(at, from.size(), to));
  };
  for (const char* backend : {"torch", "openvino"}) {
    std::set<std::string> seen = {identity(backend)};
    EXPECT_FALSE(seen.count("")) << backend;
    EXPECT_TRUE(seen.count(identity(backend))) << backend;
    change("config.json", "quick_gelu", "gelu");
    EXPECT_TRUE(seen.insert(identity(backend)).second) << backend << ": config";
    change("tokenizer.json", "{", "{ ");
    EXPECT_TRUE(seen.insert(identity(backend)).second) << backend << ": tokenizer";
    change("preprocessor_config.json", "\"do_resize\"", " \"do_resize\"");
    EXPECT_TRUE(seen.insert(identity(backend)).second) << backend << ": preprocessing";
    test::write_tiny_clip(folder.path(), {.layers = 1});
  }
  ClipModel model = ClipModel::load(folder.path());
  std::set<std::string> seen = {identity("torch"), identity("openvino")};
  for (const double alpha : {4.0, 8.0}) {
    const nn::LoraOptions lora{.r = 4, .alpha = alpha};
    if (alpha == 4.0) nn::add_lora(model, with_targets(lora, model), 3);
    nn::save_lora(model, lora, adapter.path(), {.model = "tiny"});
    for (const char* backend : {"torch", "openvino"})
      EXPECT_TRUE(seen.insert(identity(backend, adapter.path().string())).second)
          << backend << " " << alpha;
  }
}

// ---- compiled graphs on disk -----------------------------------------------

struct Log {
  std::vector<std::string> lines;
  Context context() {
    Context context;
    context.log_sink = [this](LogLevel, std::string_view text) { lines.emplace_back(text); };
    return context;
  }
};

std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

TEST(OpenVinoCache, SecondOpenReadsWhatTheFirstCompiled) {
  const TempFolder folder, cache;
  test::write_tiny_clip(folder.path());
  EncoderOptions options = options_for("openvino");
  options.cache_dir = (cache / "graphs").string();
  const auto texts = test::captions(4);
  const at::Tensor first = open_encoder(folder.path(), options, {})->encode_texts(texts, {});
  const auto kept = files_in(cache / "graphs");
  ASSERT_EQ(kept.size(), 2u);
  std::filesystem::create_hard_link(kept[0], folder / "same");  // a new file would be another
  const at::Tensor second = open_encoder(folder.path(), options, {})->encode_texts(texts, {});
  EXPECT_GE(least_cosine(first, second), 0.999999);
  EXPECT_EQ(files_in(cache / "graphs"), kept);
  EXPECT_EQ(std::filesystem::hard_link_count(kept[0]), 2u);
  // Other weights never meet an old graph.
  test::write_tiny_clip(folder.path(), {}, 2);
  const at::Tensor other = open_encoder(folder.path(), options, {})->encode_texts(texts, {});
  EXPECT_LT(least_cosine(first, other), 0.9);
  EXPECT_EQ(files_in(cache / "graphs").size(), 4u);
}

TEST(OpenVinoCache, DamagedFileIsReportedAndReplaced) {
  const TempFolder folder, cache;
  test::write_tiny_clip(folder.path());
  EncoderOptions options = options_for("openvino");
  options.cache_dir = cache.path().string();
  const auto texts = test::captions(4);
  const at::Tensor first = open_encoder(folder.path(), options, {})->encode_texts(texts, {});
  for (const auto& file : files_in(cache.path())) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekp(1000);
    stream.put('\x7f').put('\x01').put('\x33');
  }
  Log log;
  const auto encoder = open_encoder(folder.path(), options, log.context());
  EXPECT_GE(least_cosine(first, encoder->encode_texts(texts, {})), 0.999999);
  ASSERT_EQ(log.lines.size(), 2u);
  EXPECT_THAT(log.lines[0], HasSubstr("made anew"));
  Log quiet;
  open_encoder(folder.path(), options, quiet.context());
  EXPECT_TRUE(quiet.lines.empty());
}

TEST(OpenVinoCache, TheLongestUnusedGraphsGo) {
  const TempFolder folder, cache;
  test::write_tiny_clip(folder.path(), {.layers = 1});
  using std::filesystem::file_time_type;
  for (int i = 0; i < 20; ++i) {
    const auto file = cache / ("old" + std::to_string(i) + ".ovblob");
    write_file_atomic(file, "x");
    std::filesystem::last_write_time(file,
                                     file_time_type::clock::now() - std::chrono::hours(i + 1));
  }
  write_file_atomic(cache / "notes.txt", "not ours");
  EncoderOptions options = options_for("openvino");
  options.cache_dir = cache.path().string();
  open_encoder(folder.path(), options, {});
  EXPECT_EQ(files_in(cache.path()).size(), 16u + 1);
  EXPECT_TRUE(std::filesystem::exists(cache / "old13.ovblob"));
  EXPECT_FALSE(std::filesystem::exists(cache / "old14.ovblob"));
  EXPECT_TRUE(std::filesystem::exists(cache / "notes.txt"));
}

// ---- refusals ----------------------------------------------------------------

std::string usage_error(const std::filesystem::path& folder, const EncoderOptions& options) {
  try {
    open_encoder(folder, options, {});
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(OpenVinoEncoder, SaysWhatCannotBe) {
  const TempFolder folder;
  test::write_tiny_clip(folder.path());
  EXPECT_THAT(usage_error(folder.path(), options_for("openvino", "int8")),
              HasSubstr("quantization.safetensors is missing"));
  EXPECT_THAT(usage_error(folder.path(), options_for("torch", "int8")),
              HasSubstr("--backend openvino"));
  EXPECT_THAT(usage_error(folder.path(), options_for("onnx")), HasSubstr("torch, openvino"));
  EncoderOptions cuda = options_for("openvino");
  cuda.device = "cuda";
  EXPECT_THAT(usage_error(folder.path(), cuda), HasSubstr("runs on the CPU"));
}

}  // namespace
}  // namespace parapet
