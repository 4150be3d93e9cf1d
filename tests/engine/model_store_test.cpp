// Encoders of a server: what they need of their files once they are loaded.
#include "parapet/engine/encoder/model_store.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "engine/tiny_clip.h"
#include "parapet/core/error.h"
#include "parapet/engine/encoder/open_encoder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using parapet::test::TempFolder;

struct Case {
  const char* backend;
  bool cached;  // graphs come from an earlier start
};

class CutShort : public testing::TestWithParam<Case> {};

// A mapped page behind the new end of a file ends the process at the next touch.
TEST_P(CutShort, WeightsOverwrittenInPlaceChangeNothing) {
  const TempFolder folder;
  parapet::test::write_tiny_clip(folder / "clip");
  const auto pictures = parapet::test::write_pictures(folder.path(), 3);
  const std::vector<std::string> texts = parapet::test::captions(3);
  const auto plain =
      open_encoder(folder / "clip", {.backend = GetParam().backend, .precision = "fp32"}, {});
  const at::Tensor expected_texts = plain->encode_texts(texts, {});
  const at::Tensor expected_images = plain->encode_images(pictures, {});

  const EncoderRequest request{
      .model = folder / "clip", .backend = GetParam().backend, .precision = "fp32"};
  if (GetParam().cached) ModelStore(folder / "cache").encoder(request, {});
  ModelStore store(GetParam().cached ? folder / "cache" : fs::path());
  const auto shared = store.encoder(request, {});
  for (const auto& entry : fs::directory_iterator(folder / "clip")) fs::resize_file(entry, 0);

  for (size_t i = 0; i < 3; ++i) {
    const auto row = static_cast<int64_t>(i);
    const auto text = shared->batches->encode_text(texts[i]).get();
    const auto image =
        shared->batches->encode_image_bytes(read_file(pictures[i]), pictures[i]).get();
    ASSERT_TRUE(text.ok()) << text.error;
    ASSERT_TRUE(image.ok()) << image.error;
    EXPECT_TRUE(at::allclose(at::tensor(text.embedding), expected_texts[row], 1e-4, 1e-5));
    EXPECT_TRUE(at::allclose(at::tensor(image.embedding), expected_images[row], 1e-4, 1e-5));
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, CutShort,
                         testing::Values(Case{"torch", false}, Case{"openvino", false},
                                         Case{"openvino", true}),
                         [](const auto& info) {
                           return std::string(info.param.backend) +
                                  (info.param.cached ? "_from_cache" : "");
                         });

TEST(ModelStore, KeepsGraphsAndSharesEncoders) {
  const TempFolder folder;
  parapet::test::write_tiny_clip(folder / "clip", {.layers = 1});
  const EncoderRequest request{
      .model = folder / "clip", .backend = "openvino", .precision = "fp32", .threads = 2};
  ModelStore store(folder / "cache");
  const auto first = store.encoder(request, {});
  EXPECT_EQ(store.encoder(request, {}), first);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "cache"), fs::directory_iterator()), 2);
  EXPECT_EQ(first->batches->encoder().lanes(), 2);
}

TEST(ModelStore, EmbeddingsInAFileAreSharedByEncodersAndOutliveThem) {
  const TempFolder folder;
  parapet::test::write_tiny_clip(folder / "clip", {.layers = 1});
  const EmbeddingCacheOptions embeddings{.file = folder / "new/embeddings.sqlite"};
  EncoderRequest request{.model = folder / "clip", .backend = "torch", .precision = "fp32"};
  std::vector<float> first;
  {
    ModelStore store({}, {}, embeddings);
    first = store.encoder(request, {})->batches->encode_text("hello").get().embedding;
  }
  ModelStore store({}, {}, embeddings);
  const auto shared = store.encoder(request, {});
  const EncodeResult again = shared->batches->encode_text("hello").get();
  EXPECT_TRUE(again.cached);
  EXPECT_EQ(again.embedding, first);
  EXPECT_FALSE(shared->batches->encode_text("other").get().cached);
  request.backend = "openvino";  // rounds otherwise: another identity
  EXPECT_FALSE(store.encoder(request, {})->batches->encode_text("hello").get().cached);
  const EncoderCounts counts = store.counts();
  EXPECT_EQ(counts.cache.file_hits, 1);
  EXPECT_EQ(counts.cache.misses, 2);
  EXPECT_TRUE(counts.cache.file);
}

TEST(ModelStore, BatchesAsItIsTold) {
  const TempFolder folder;
  parapet::test::write_tiny_clip(folder / "clip", {.layers = 1});
  const EncoderRequest request{.model = folder / "clip", .backend = "torch", .precision = "fp32"};
  EXPECT_THROW(ModelStore({}, {.max_batch = 0}).encoder(request, {}), UsageError);
  ModelStore store({}, {.max_batch = 1, .lanes = 1}, {.memory_bytes = 0});
  const auto shared = store.encoder(request, {});
  std::vector<std::future<EncodeResult>> results;
  for (int i = 0; i < 10; ++i) results.push_back(shared->batches->encode_text("same"));
  for (auto& result : results) EXPECT_EQ(result.get().batch, 1);
  results.clear();
  EXPECT_FALSE(shared->batches->encode_text("same").get().cached);
}

}  // namespace
}  // namespace parapet
