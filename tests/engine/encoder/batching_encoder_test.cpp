#include "parapet/engine/encoder/batching_encoder.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/engine/encoder/encoder.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

using namespace std::chrono_literals;
using test::TempFolder;
using ::testing::HasSubstr;

// Embeds a text as (its length, 1), an image as (its first byte, 2); can be held back.
class GatedEncoder final : public Encoder {
 public:
  int64_t dim() const override { return 2; }
  double logit_scale() const override { return 100; }
  at::Tensor encode_images(const std::vector<std::string>&, const Context&, EncodeStats*) override {
    return at::empty({0, 2});
  }
  at::Tensor encode_images(std::span<const Image> images, const Context&, EncodeStats*) override {
    std::vector<float> values;
    for (const Image& image : images) values.insert(values.end(), {float(image.rgb[0]), 2});
    return answer(values);
  }
  at::Tensor encode_texts(const std::vector<std::string>& texts, const Context&,
                          EncodeStats*) override {
    std::vector<float> values;
    for (const auto& text : texts) {
      if (text == "bad") throw DataError("text", "is bad");
      order += (order.empty() ? "texts: " : ", ") + text;
      values.insert(values.end(), {float(text.size()), 1});
    }
    return answer(values);
  }
  std::string identity() const override { return "gated"; }

  void hold() { gate_.lock(); }
  void release() { gate_.unlock(); }
  std::atomic<int> calls{0}, inside{0}, most_inside{0};
  std::vector<int64_t> batches;
  std::string order;  // of the texts; one lane writes it

 private:
  at::Tensor answer(const std::vector<float>& values) {
    most_inside = std::max<int>(most_inside, ++inside);
    ++calls;
    std::lock_guard lock(gate_);
    batches.push_back(static_cast<int64_t>(values.size() / 2));
    --inside;
    return at::tensor(values).view({-1, 2});
  }
  std::mutex gate_;
};

Image pixel(uint8_t value) { return {1, 1, {value, 0, 0}}; }

void wait_until(const std::function<bool()>& condition) {
  while (!condition()) std::this_thread::sleep_for(200us);
}

TEST(BatchingEncoder, GathersWhatArrivesWhileBusy) {
  auto encoder = std::make_shared<GatedEncoder>();
  BatchingEncoder batching(encoder, {.max_batch = 8, .max_wait_ms = 3, .lanes = 1});
  encoder->hold();
  std::vector<std::future<EncodeResult>> results;
  results.push_back(batching.encode_text("x"));
  wait_until([&] { return encoder->calls == 1; });  // the lane is busy with the first
  for (int i = 2; i <= 12; ++i) results.push_back(batching.encode_text(std::string(i, 'x')));
  encoder->release();
  for (size_t i = 0; i < results.size(); ++i) {
    const EncodeResult result = results[i].get();
    ASSERT_TRUE(result.ok()) << result.error;
    EXPECT_FLOAT_EQ(result.embedding[0], static_cast<float>(i + 1));
  }
  // 1, then a full batch of 8, then the last 3.
  EXPECT_EQ(encoder->batches, (std::vector<int64_t>{1, 8, 3}));
}

TEST(BatchingEncoder, ImagesAndTextsDoNotMix) {
  auto encoder = std::make_shared<GatedEncoder>();
  BatchingEncoder batching(encoder, {.lanes = 1});
  encoder->hold();
  auto first = batching.encode_image(pixel(9));
  wait_until([&] { return encoder->calls == 1; });
  auto text = batching.encode_text("four");
  auto image = batching.encode_image(pixel(5));
  auto other = batching.encode_text("threes");
  encoder->release();
  EXPECT_FLOAT_EQ(image.get().embedding[1], 2);
  EXPECT_FLOAT_EQ(text.get().embedding[1], 1);
  EXPECT_FLOAT_EQ(other.get().embedding[0], 6);
  EXPECT_EQ(first.get().batch, 1);
  EXPECT_EQ(encoder->batches.size(), 3u);
}

TEST(BatchingEncoder, RefusesWhenTheQueueIsFull) {
  auto encoder = std::make_shared<GatedEncoder>();
  BatchingEncoder batching(encoder, {.max_batch = 2, .max_queue = 3, .lanes = 1});
  encoder->hold();
  auto busy = batching.encode_text("a");
  wait_until([&] { return encoder->calls == 1; });
  std::vector<std::future<EncodeResult>> waiting;
  for (int i = 0; i < 3; ++i) waiting.push_back(batching.encode_text("b"));
  const EncodeResult refused = batching.encode_text("c").get();
  EXPECT_EQ(refused.status, EncodeStatus::kOverloaded);
  EXPECT_GE(refused.retry_after_ms, 1);
  EXPECT_EQ(batching.counts().queue, 3);
  EXPECT_EQ(batching.counts().overloaded, 1);
  encoder->release();
  EXPECT_TRUE(busy.get().ok());
  for (auto& item : waiting) EXPECT_TRUE(item.get().ok());
}

// A full queue says that the encoder has much to do, not that it is gone: a probe is answered
// before what waits. One that never answers still does not gather probes without end.
TEST(BatchingEncoder, ProbesGoPastAFullQueue) {
  auto encoder = std::make_shared<GatedEncoder>();
  BatchingEncoder batching(encoder, {.max_batch = 1, .max_queue = 3, .lanes = 1});
  encoder->hold();
  auto busy = batching.encode_text("a");
  wait_until([&] { return encoder->calls == 1; });
  std::vector<std::future<EncodeResult>> waiting;
  for (int i = 0; i < 3; ++i) waiting.push_back(batching.encode_text("b"));
  EXPECT_EQ(batching.encode_text("c").get().status, EncodeStatus::kOverloaded);
  auto probes = batching.probe({});
  ASSERT_EQ(probes.size(), 2u);
  encoder->release();
  for (auto& probe : probes) EXPECT_TRUE(probe.get().ok());
  for (auto& item : waiting) EXPECT_TRUE(item.get().ok());
  EXPECT_EQ(encoder->order, "texts: a, a photo, b, b, b");

  encoder->hold();
  const int before = encoder->calls;
  auto hung = batching.encode_text("a");
  wait_until([&] { return encoder->calls == before + 1; });
  std::vector<std::future<EncodeResult>> many;
  for (int i = 0; i < 100; ++i)
    for (auto& probe : batching.probe({})) many.push_back(std::move(probe));
  EXPECT_LT(batching.counts().queue, 100);
  EXPECT_EQ(many.back().get().status, EncodeStatus::kOverloaded);
  encoder->release();
  EXPECT_TRUE(hung.get().ok());
  // What was taken is no longer counted.
  many.pop_back();
  for (auto& probe : many) probe.wait();
  for (auto& probe : batching.probe({})) EXPECT_TRUE(probe.get().ok());
}

TEST(BatchingEncoder, LateItemsAreNotComputed) {
  auto encoder = std::make_shared<GatedEncoder>();
  BatchingEncoder batching(encoder, {.lanes = 1});
  encoder->hold();
  auto busy = batching.encode_text("a");
  wait_until([&] { return encoder->calls == 1; });
  auto late = batching.encode_text("b", std::chrono::steady_clock::now() + 1ms);
  auto patient = batching.encode_text("c", std::chrono::steady_clock::now() + 1h);
  std::this_thread::sleep_for(3ms);
  encoder->release();
  EXPECT_EQ(late.get().status, EncodeStatus::kDeadline);
  EXPECT_TRUE(patient.get().ok());
  EXPECT_EQ(encoder->batches, (std::vector<int64_t>{1, 1}));
}

TEST(BatchingEncoder, OneBadItemDoesNotFailItsNeighbours) {
  auto encoder = std::make_shared<GatedEncoder>();
  BatchingEncoder batching(encoder, {.lanes = 1});
  encoder->hold();
  auto busy = batching.encode_text("a");
  wait_until([&] { return encoder->calls == 1; });
  auto good = batching.encode_text("good");
  auto bad = batching.encode_text("bad");
  auto fine = batching.encode_text("fine!");
  encoder->release();
  EXPECT_TRUE(good.get().ok());
  EXPECT_FLOAT_EQ(fine.get().embedding[0], 5);
  const EncodeResult failed = bad.get();
  EXPECT_EQ(failed.status, EncodeStatus::kFailed);
  EXPECT_TRUE(failed.bad_input);
  EXPECT_THAT(failed.error, HasSubstr("is bad"));
}

TEST(BatchingEncoder, UndecodableBytesAreTheCallersFault) {
  auto encoder = std::make_shared<GatedEncoder>();
  BatchingEncoder batching(encoder, {});
  const EncodeResult result = batching.encode_image_bytes("no image", "upload 3").get();
  EXPECT_EQ(result.status, EncodeStatus::kFailed);
  EXPECT_TRUE(result.bad_input);
  EXPECT_THAT(result.error, HasSubstr("upload 3"));
  EXPECT_EQ(encoder->calls, 0);
}

TEST(BatchingEncoder, CallsOneAtATimeWhereTheEncoderMustBe) {
  auto encoder = std::make_shared<GatedEncoder>();  // thread_safe() is false
  BatchingEncoder batching(encoder, {.max_batch = 1, .max_wait_ms = 0, .lanes = 4});
  std::vector<std::future<EncodeResult>> results;
  for (int i = 0; i < 50; ++i) results.push_back(batching.encode_text("a"));
  for (auto& result : results) EXPECT_TRUE(result.get().ok());
  EXPECT_EQ(encoder->most_inside, 1);
}

TEST(BatchingEncoder, EndingAnswersEverybody) {
  auto encoder = std::make_shared<GatedEncoder>();
  auto batching = std::make_unique<BatchingEncoder>(encoder, BatchingOptions{.lanes = 1});
  encoder->hold();
  auto busy = batching->encode_text("a");
  wait_until([&] { return encoder->calls == 1; });
  auto waiting = batching->encode_text("b");
  std::thread end([&] { batching.reset(); });
  encoder->release();
  end.join();
  EXPECT_TRUE(busy.get().ok());
  const EncodeStatus status = waiting.get().status;  // in time or told so
  EXPECT_TRUE(status == EncodeStatus::kStopped || status == EncodeStatus::kDone);
}

TEST(BatchingEncoder, SecondTimeComesFromTheCache) {
  auto encoder = std::make_shared<GatedEncoder>();
  auto cache = std::make_shared<EmbeddingCache>(EmbeddingCacheOptions{});
  BatchingEncoder batching(encoder, {}, cache);
  EXPECT_FALSE(batching.encode_text("hello").get().cached);
  const EncodeResult again = batching.encode_text("hello").get();
  EXPECT_TRUE(again.cached);
  EXPECT_FLOAT_EQ(again.embedding[0], 5);
  EXPECT_FALSE(batching.encode_image(pixel(3)).get().cached);
  EXPECT_TRUE(batching.encode_image(pixel(3)).get().cached);
  EXPECT_FALSE(batching.encode_image(pixel(4)).get().cached);
  EXPECT_EQ(encoder->calls, 3);
  EXPECT_EQ(batching.counts().cached, 2);
}

TEST(BatchingEncoder, AnEmbeddingOfAnotherLengthIsComputedAgain) {
  auto encoder = std::make_shared<GatedEncoder>();
  auto cache = std::make_shared<EmbeddingCache>(EmbeddingCacheOptions{});
  cache->put(EmbeddingCache::key("text", "gated", "hello"), {1, 2, 3});
  BatchingEncoder batching(encoder, {}, cache);
  const EncodeResult result = batching.encode_text("hello").get();
  EXPECT_FALSE(result.cached);
  EXPECT_EQ(result.embedding, (std::vector<float>{5, 1}));
}

// A cache without memory must not end the process from a lane's thread, nor cost an answer.
TEST(BatchingEncoder, AnswersWhereTheCacheFails) {
  struct Full final : EmbeddingCache {
    Full() : EmbeddingCache(EmbeddingCacheOptions{}) {}
    void put(const std::string&, const std::vector<float>&) override { throw std::bad_alloc(); }
  };
  auto encoder = std::make_shared<GatedEncoder>();
  BatchingEncoder batching(encoder, {}, std::make_shared<Full>());
  for (int i = 0; i < 3; ++i) {
    const EncodeResult result = batching.encode_text("hello").get();
    EXPECT_TRUE(result.ok());
    EXPECT_FALSE(result.cached);
  }
  EXPECT_EQ(batching.counts().not_kept, 3);
}

TEST(BatchingEncoder, WarningsOfTheEncoderArrive) {
  struct Warning final : Encoder {
    int64_t dim() const override { return 2; }
    double logit_scale() const override { return 1; }
    at::Tensor encode_images(const std::vector<std::string>&, const Context&,
                             EncodeStats*) override {
      return at::empty({0, 2});
    }
    at::Tensor encode_texts(const std::vector<std::string>& texts, const Context& context,
                            EncodeStats*) override {
      context.warn("text 0 was cut");
      return at::ones({static_cast<int64_t>(texts.size()), 2});
    }
  };
  std::mutex mutex;
  std::vector<std::string> said;
  Context context;
  context.log_sink = [&](LogLevel, std::string_view message) {
    const std::lock_guard lock(mutex);
    said.emplace_back(message);
  };
  BatchingEncoder batching(std::make_shared<Warning>(), {}, nullptr, context);
  EXPECT_TRUE(batching.encode_text("hello").get().ok());
  const std::lock_guard lock(mutex);
  EXPECT_EQ(said, std::vector<std::string>{"text 0 was cut"});
}

TEST(BatchingEncoder, OptionsAreChecked) {
  auto encoder = std::make_shared<GatedEncoder>();
  EXPECT_THROW(BatchingEncoder(encoder, {.max_batch = 0}), UsageError);
  EXPECT_THROW(BatchingEncoder(encoder, {.max_queue = 0}), UsageError);
}

// ---- the cache alone ---------------------------------------------------------

TEST(EmbeddingCache, KeysDifferByKindIdentityAndContent) {
  const std::string key = EmbeddingCache::key("text", "m", "x");
  EXPECT_EQ(key, EmbeddingCache::key("text", "m", "x"));
  EXPECT_NE(key, EmbeddingCache::key("image", "m", "x"));
  EXPECT_NE(key, EmbeddingCache::key("text", "n", "x"));
  EXPECT_NE(key, EmbeddingCache::key("text", "mx", ""));
  EXPECT_TRUE(EmbeddingCache::key("text", "", "x").empty());
}

TEST(EmbeddingCache, ForgetsTheLeastRecentlyUsed) {
  const std::vector<float> values(64, 1.5F);
  EmbeddingCache cache({.memory_bytes = 3 * (256 + 2 + 160)});
  for (const char* key : {"a", "b", "c"}) cache.put(key, values);
  EXPECT_TRUE(cache.find("a"));
  cache.put("d", values);
  EXPECT_TRUE(cache.find("a"));
  EXPECT_FALSE(cache.find("b"));
  EXPECT_EQ(cache.find("d"), values);
  const auto counts = cache.counts();
  EXPECT_EQ(counts.entries, 3);
  EXPECT_EQ(counts.misses, 1);
  EXPECT_LE(counts.bytes, 3 * (256 + 2 + 160));
  EmbeddingCache none({.memory_bytes = 0});
  none.put("a", values);
  EXPECT_FALSE(none.find("a"));
  none.put("", values);
  EXPECT_FALSE(none.find(""));
}

TEST(EmbeddingCache, FileOutlivesTheProcess) {
  const TempFolder folder;
  const EmbeddingCacheOptions options{.file = folder / "cache.sqlite"};
  { EmbeddingCache(options).put("k", {1, 2, 3}); }
  EmbeddingCache cache(options);
  EXPECT_EQ(cache.find("k"), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(cache.counts().file_hits, 1);
  EXPECT_EQ(cache.find("k"), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(cache.counts().hits, 1);
}

TEST(EmbeddingCache, FileDropsItsOldestRows) {
  const TempFolder folder;
  const EmbeddingCacheOptions options{
      .memory_bytes = 0, .file = folder / "cache.sqlite", .file_rows = 10};
  EmbeddingCache cache(options);
  for (int i = 0; i < 30; ++i) cache.put("k" + std::to_string(i), {float(i)});
  EXPECT_FALSE(cache.find("k0"));
  EXPECT_EQ(cache.find("k29"), (std::vector<float>{29}));
}

TEST(EmbeddingCache, RefusesAFileThatIsNotOurs) {
  const TempFolder folder;
  write_file_atomic(folder / "notes.txt", std::string(5000, 'x'));
  EXPECT_THROW(EmbeddingCache({.file = folder / "notes.txt"}), DataError);
  EXPECT_THROW(EmbeddingCache({.file = folder.path()}), DataError);
  EXPECT_THROW(EmbeddingCache({.file = folder / "notes.txt/cache.sqlite"}), DataError);
}

}  // namespace
}  // namespace parapet
