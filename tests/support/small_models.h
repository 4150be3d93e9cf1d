// Small random models on disk, for tests of rooms that know no torch.
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "parapet/engine/encoder/model_store.h"
#include "parapet/methods/guard_heads/heads.h"

namespace parapet::test {

struct SmallClip {
  int64_t layers = 1;
  int64_t positions = 77;  // of its text tower
};
// A CLIP folder with CLIP's vocabulary, embeddings of 48 numbers.
void write_small_clip(const std::filesystem::path& folder, const SmallClip& shape = {});
// Its model_content_key.
std::string model_key(const std::filesystem::path& folder);
// Guard heads with the categories and thresholds of `info`, whose widths are set from the weights.
void write_small_heads(const std::filesystem::path& folder, GuardHeadsInfo info, int64_t dim,
                       int64_t hidden, uint64_t seed);
// PNG files picture0.png and so on; returns their locations.
std::vector<std::string> write_small_pictures(const std::filesystem::path& folder, int64_t count);

// What may go wrong with an encoder, at any time.
struct Faults {
  std::atomic<bool> fail{false};  // encoding throws
  std::atomic<int> images{0};     // encoded
  void hang();                    // encoding waits for release()
  void release();
  void wait();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool hung_ = false;
};
// An encoder behind a cache, with the tokenizer of `folder`, whose embeddings are all alike.
std::shared_ptr<const SharedEncoder> faulty_encoder(const std::filesystem::path& folder,
                                                    const std::shared_ptr<Faults>& faults);

struct SmallEmbeddings {
  std::vector<std::vector<float>> texts, images;
};
// What `backend` says in fp32, without batching or a cache.
SmallEmbeddings embed(const std::filesystem::path& model, const std::string& backend,
                      const std::vector<std::string>& texts,
                      const std::vector<std::string>& images);

}  // namespace parapet::test
