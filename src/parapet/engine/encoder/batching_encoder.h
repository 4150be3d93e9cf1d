// One encoder for many callers: requests from all threads are gathered into batches, computed on a
// few lanes, refused when too many wait. Knows no torch.
#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/core/options.h"
#include "parapet/engine/cache/embedding_cache.h"
#include "parapet/formats/image.h"

namespace parapet {

class Encoder;

struct BatchingOptions {
  int64_t max_batch = 32;   // items computed together
  int64_t max_wait_ms = 3;  // how long the first of a batch waits for others while a lane is busy
  int64_t max_queue = 256;  // waiting items; more are refused
  int64_t lanes = 0;        // batches computed side by side; 0 = what the encoder suggests
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

enum class EncodeStatus {
  kDone,
  kOverloaded,  // the queue is full; try again after retry_after_ms
  kDeadline,    // it could not be computed in time
  kFailed,      // bad input or a failure of the model: `error`
  kStopped,     // the encoder was shut down
};

struct EncodeResult {
  EncodeStatus status = EncodeStatus::kFailed;
  std::vector<float> embedding;  // L2-normalised; kDone only
  std::string error;             // kFailed: what and where
  bool bad_input = false;        // kFailed: the caller's fault
  bool cached = false;
  int64_t retry_after_ms = 0;
  int64_t batch = 0;          // items it was computed with
  double wait_seconds = 0;    // in the queue
  double encode_seconds = 0;  // of its batch
  bool ok() const { return status == EncodeStatus::kDone; }
};

using EncodeDeadline = std::optional<std::chrono::steady_clock::time_point>;

class BatchingEncoder {
 public:
  // Called exactly once per submission, on a lane's thread or (cached, refused) the caller's. Must
  // not block or throw.
  using Done = std::function<void(EncodeResult)>;

  // `cache` may be null. Warnings of the encoder go to `context`, from any lane.
  BatchingEncoder(std::shared_ptr<Encoder> encoder, const BatchingOptions& options,
                  std::shared_ptr<EmbeddingCache> cache = nullptr, const Context& context = {});
  // Stops: what waits ends as kStopped, what is being computed is finished.
  ~BatchingEncoder();

  // The image is resized on the caller's thread. `content` identifies it for the cache (its encoded
  // bytes); empty = the pixels do.
  void submit_image(const Image& image, std::string_view content, EncodeDeadline deadline,
                    Done done);
  void submit_text(std::string text, EncodeDeadline deadline, Done done);
  // The same, to be waited for.
  std::future<EncodeResult> encode_image(const Image& image, std::string_view content = {},
                                         EncodeDeadline deadline = {});
  // An encoded image (JPEG, PNG, ...), decoded on the caller's thread unless it is in the cache.
  std::future<EncodeResult> encode_image_bytes(std::string_view bytes, std::string_view source,
                                               EncodeDeadline deadline = {});
  std::future<EncodeResult> encode_text(std::string text, EncodeDeadline deadline = {});

  // An image and a text that are computed whatever the cache holds, and are not kept: whether the
  // encoder still works. They go before what waits, and a full queue does not refuse them.
  std::vector<std::future<EncodeResult>> probe(EncodeDeadline deadline);

  int64_t dim() const;
  double logit_scale() const;
  int64_t decode_scale() const;  // as Encoder's
  int64_t text_context() const;
  const Encoder& encoder() const { return *encoder_; }

  // For /metrics.
  struct Counts {
    int64_t queue = 0;    // waiting now
    int64_t items = 0;    // computed
    int64_t batches = 0;  // calls of the encoder
    int64_t overloaded = 0, late = 0, failed = 0, cached = 0;
    int64_t not_kept = 0;     // computed, but the cache had no memory for it
    double busy_seconds = 0;  // summed over lanes
  };
  Counts counts() const;

 private:
  using Clock = std::chrono::steady_clock;
  enum Kind { kImage = 0, kText = 1 };
  struct Item {
    Image image;
    std::string text;
    std::string key;
    bool probe = false;
    EncodeDeadline deadline;
    Clock::time_point since;
    Done done;
  };

  void submit(Kind kind, Item item);
  void submit_probe(Kind kind, Item item);
  // What runs on a lane's thread allocates nothing outside of run(): an exception there would end
  // the process.
  void lane(std::vector<Item> items);
  bool wait_for_batch(std::unique_lock<std::mutex>& lock, Kind& kind);
  void take(Kind kind, std::vector<Item>& items) noexcept;
  void compute(Kind kind, std::span<Item> items) noexcept;
  void keep(const std::string& key, const std::vector<float>& embedding) noexcept;
  std::vector<std::vector<float>> run(Kind kind, std::span<const Item> items);
  bool answer_from_cache(const std::string& key, const Done& done);
  int64_t retry_after_ms() const;

  std::shared_ptr<Encoder> encoder_;
  BatchingOptions options_;
  std::shared_ptr<EmbeddingCache> cache_;
  Context context_;  // without progress and cancel: lanes belong to no call
  std::string identity_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Item> queues_[2];
  int64_t busy_ = 0;
  int64_t probes_ = 0;  // waiting
  bool stopping_ = false;
  double item_seconds_ = 0.02;  // running mean, for retry_after_ms
  Counts counts_;
  std::mutex encoder_mutex_;  // for encoders that take one call at a time
  std::vector<std::thread> lanes_;
};

}  // namespace parapet
