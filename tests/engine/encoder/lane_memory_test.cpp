// Lanes that run out of memory: in this program a switch makes allocations on chosen threads fail.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "parapet/core/error.h"
#include "parapet/engine/encoder/batching_encoder.h"
#include "parapet/engine/encoder/encoder.h"

namespace {
std::atomic<bool> g_no_memory{false};
thread_local bool t_is_lane = false;

void* allocate(std::size_t size) {
  if (t_is_lane && g_no_memory) throw std::bad_alloc();
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

namespace parapet {
namespace {

// Marks the threads that call it as lanes; embeds anything as (1, 0).
class MarkingEncoder final : public Encoder {
 public:
  int64_t dim() const override { return 2; }
  double logit_scale() const override { return 1; }
  at::Tensor encode_images(const std::vector<std::string>&, const Context&, EncodeStats*) override {
    return at::empty({0, 2});
  }
  at::Tensor encode_images(std::span<const Image> images, const Context&, EncodeStats*) override {
    return rows(images.size());
  }
  at::Tensor encode_texts(const std::vector<std::string>& texts, const Context&,
                          EncodeStats*) override {
    for (const auto& text : texts)
      if (text.starts_with("greedy")) throw std::bad_alloc();
    return rows(texts.size());
  }
  std::string identity() const override { return "marking"; }
  std::atomic<int> calls{0};

 private:
  at::Tensor rows(size_t count) {
    t_is_lane = true;
    ++calls;
    return at::tensor({1.0f, 0.0f}).repeat({static_cast<int64_t>(count), 1});
  }
};

class LaneMemory : public ::testing::Test {
 protected:
  ~LaneMemory() override { g_no_memory = false; }
  EncodeResult ask(const std::string& text) { return batching.encode_text(text).get(); }
  std::shared_ptr<MarkingEncoder> encoder = std::make_shared<MarkingEncoder>();
  BatchingEncoder batching{encoder, {.max_batch = 4, .max_wait_ms = 0, .lanes = 1}};
};

TEST_F(LaneMemory, ABatchWithoutMemoryFailsByNameAndTheLaneGoesOn) {
  ASSERT_TRUE(ask("first").ok());  // from here on the lane is marked
  g_no_memory = true;
  std::vector<std::future<EncodeResult>> answers;
  const std::string long_text(200, 'x');  // does not fit into a string that allocates nothing
  for (int i = 0; i < 10; ++i) answers.push_back(batching.encode_text(long_text));
  answers.push_back(batching.encode_image({1, 1, {1, 2, 3}}));
  for (auto& answer : answers) {
    const EncodeResult result = answer.get();
    EXPECT_EQ(result.status, EncodeStatus::kFailed);
    EXPECT_EQ(result.error, "out of memory");
    EXPECT_FALSE(result.bad_input);  // nothing that the caller did
  }
  // Late ones are answered without memory too.
  EXPECT_EQ(batching.encode_text("late", std::chrono::steady_clock::now()).get().status,
            EncodeStatus::kDeadline);
  g_no_memory = false;
  EXPECT_TRUE(ask("again").ok());
  EXPECT_EQ(batching.counts().failed, 11);
  EXPECT_EQ(batching.counts().late, 1);
}

TEST_F(LaneMemory, WhatHasNoMemoryTogetherIsTriedAlone) {
  std::vector<std::future<EncodeResult>> answers;
  for (const char* text : {"a", "greedy", "b", "greedy too", "c"})
    answers.push_back(batching.encode_text(text));
  for (size_t i = 0; i < answers.size(); ++i) {
    const EncodeResult result = answers[i].get();
    EXPECT_EQ(result.status, i % 2 == 0 ? EncodeStatus::kDone : EncodeStatus::kFailed) << i;
    EXPECT_EQ(result.error, i % 2 == 0 ? "" : "out of memory");
  }
}

}  // namespace
}  // namespace parapet
