#include "parapet/engine/encoder/batching_encoder.h"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cmath>
#include <new>

#include "parapet/core/error.h"
#include "parapet/engine/encoder/encoder.h"

namespace parapet {
namespace {

EncodeResult refused(EncodeStatus status) {
  EncodeResult result;
  result.status = status;
  return result;
}

EncodeResult failure(const std::exception& error) noexcept {
  EncodeResult result = refused(EncodeStatus::kFailed);
  const auto* typed = dynamic_cast<const Error*>(&error);
  result.bad_input = typed != nullptr && typed->kind() == ErrorKind::kData;
  // Short enough for a string that allocates nothing.
  static constexpr const char* kNoMemory = "out of memory";
  try {
    result.error =
        dynamic_cast<const std::bad_alloc*>(&error) != nullptr ? kNoMemory : error.what();
  } catch (const std::bad_alloc&) {
    result.error = kNoMemory;
  }
  return result;
}

std::pair<std::future<EncodeResult>, BatchingEncoder::Done> promised() {
  auto promise = std::make_shared<std::promise<EncodeResult>>();
  return {promise->get_future(),
          [promise](EncodeResult result) { promise->set_value(std::move(result)); }};
}

constexpr int64_t kMaxProbes = 64;  // waiting at once

std::string_view pixels_of(const Image& image) {
  return {reinterpret_cast<const char*>(image.rgb.data()), image.rgb.size()};
}

}  // namespace

void BatchingOptions::visit(OptionList& list) {
  list.add("max-batch", max_batch, "images, or texts, that the encoder computes together at most");
  list.add("max-wait-ms", max_wait_ms,
           "how long the first of a batch waits for others while the encoder is busy (an idle one "
           "starts at once); more fills batches, less answers sooner");
  list.add("max-queue", max_queue,
           "images and pieces of text that may wait for the encoder; more are refused as "
           "overloaded");
  list.add("lanes", lanes, "batches computed side by side; 0 = what the encoder suggests");
}

void BatchingOptions::validate(Problems& problems) const {
  problems.require(max_batch >= 1 && max_batch <= 4096, "--max-batch", "must be in 1..4096");
  problems.require(max_wait_ms >= 0 && max_wait_ms <= 1000, "--max-wait-ms", "must be in 0..1000");
  problems.require(max_queue >= 1 && max_queue <= 1'000'000, "--max-queue",
                   "must be in 1..1000000");
  problems.require(lanes >= 0 && lanes <= 256, "--lanes", "must be in 0..256");
}

BatchingEncoder::BatchingEncoder(std::shared_ptr<Encoder> encoder, const BatchingOptions& options,
                                 std::shared_ptr<EmbeddingCache> cache, const Context& context)
    : encoder_(std::move(encoder)), options_(options), cache_(std::move(cache)) {
  context_.log_sink = context.log_sink;
  Problems problems;
  options_.validate(problems);
  problems.throw_if_any("batching");
  if (cache_) identity_ = encoder_->identity();
  const int64_t lanes = options_.lanes > 0 ? options_.lanes : encoder_->lanes();
  for (int64_t i = 0; i < std::max<int64_t>(1, lanes); ++i) {
    std::vector<Item> room;
    room.reserve(static_cast<size_t>(options_.max_batch));
    lanes_.emplace_back([this, room = std::move(room)]() mutable { lane(std::move(room)); });
  }
}

BatchingEncoder::~BatchingEncoder() {
  std::deque<Item> left[2];
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    for (int kind : {kImage, kText}) left[kind].swap(queues_[kind]);
  }
  wake_.notify_all();
  for (auto& thread : lanes_) thread.join();
  for (auto& queue : left)
    for (Item& item : queue) item.done(refused(EncodeStatus::kStopped));
}

int64_t BatchingEncoder::dim() const { return encoder_->dim(); }
double BatchingEncoder::logit_scale() const { return encoder_->logit_scale(); }
int64_t BatchingEncoder::decode_scale() const { return encoder_->decode_scale(); }
int64_t BatchingEncoder::text_context() const { return encoder_->text_context(); }

bool BatchingEncoder::answer_from_cache(const std::string& key, const Done& done) {
  if (!cache_) return false;
  auto found = cache_->find(key);
  // A file may hold anything; whoever reads the embedding trusts its length.
  if (!found || static_cast<int64_t>(found->size()) != encoder_->dim()) return false;
  {
    std::lock_guard lock(mutex_);
    ++counts_.cached;
  }
  EncodeResult result = refused(EncodeStatus::kDone);
  result.embedding = std::move(*found);
  result.cached = true;
  done(std::move(result));
  return true;
}

void BatchingEncoder::submit_image(const Image& image, std::string_view content,
                                   EncodeDeadline deadline, Done done) {
  Item item;
  if (cache_)
    item.key = content.empty() ? EmbeddingCache::key("pixels" + std::to_string(image.width),
                                                     identity_, pixels_of(image))
                               : EmbeddingCache::key("image", identity_, content);
  if (answer_from_cache(item.key, done)) return;
  try {
    item.image = encoder_->resized(image);
  } catch (const std::exception& error) {
    done(failure(error));
    return;
  }
  item.deadline = deadline;
  item.done = std::move(done);
  submit(kImage, std::move(item));
}

void BatchingEncoder::submit_text(std::string text, EncodeDeadline deadline, Done done) {
  Item item;
  if (cache_) item.key = EmbeddingCache::key("text", identity_, text);
  if (answer_from_cache(item.key, done)) return;
  item.text = std::move(text);
  item.deadline = deadline;
  item.done = std::move(done);
  submit(kText, std::move(item));
}

std::future<EncodeResult> BatchingEncoder::encode_image(const Image& image,
                                                        std::string_view content,
                                                        EncodeDeadline deadline) {
  auto [future, done] = promised();
  submit_image(image, content, deadline, std::move(done));
  return std::move(future);
}

std::future<EncodeResult> BatchingEncoder::encode_image_bytes(std::string_view bytes,
                                                              std::string_view source,
                                                              EncodeDeadline deadline) {
  auto [future, done] = promised();
  if (cache_ && answer_from_cache(EmbeddingCache::key("image", identity_, bytes), done))
    return std::move(future);
  try {
    DecodeOptions decode;
    decode.scale_for = encoder_->decode_scale();
    submit_image(decode_image(bytes, source, decode), bytes, deadline, done);
  } catch (const std::exception& error) {
    done(failure(error));
  }
  return std::move(future);
}

std::future<EncodeResult> BatchingEncoder::encode_text(std::string text, EncodeDeadline deadline) {
  auto [future, done] = promised();
  submit_text(std::move(text), deadline, std::move(done));
  return std::move(future);
}

std::vector<std::future<EncodeResult>> BatchingEncoder::probe(EncodeDeadline deadline) {
  std::vector<std::future<EncodeResult>> answers;
  for (const Kind kind : {kImage, kText}) {
    auto [future, done] = promised();
    answers.push_back(std::move(future));
    Item item;  // without a key
    try {
      if (kind == kImage)
        item.image = encoder_->resized({32, 32, std::vector<uint8_t>(32 * 32 * 3, 128)});
      else
        item.text = "a photo";
    } catch (const std::exception& error) {
      done(failure(error));
      continue;
    }
    item.deadline = deadline;
    item.done = std::move(done);
    submit_probe(kind, std::move(item));
  }
  return answers;
}

// Goes before everything that waits, and past max_queue: an encoder that is busy is alive. Probes
// that an encoder never took are not gathered without end.
void BatchingEncoder::submit_probe(Kind kind, Item item) {
  EncodeResult refusal;
  {
    const std::lock_guard lock(mutex_);
    if (!stopping_ && probes_ < kMaxProbes) {
      item.since = {};  // older than what waits, of either kind
      item.probe = true;
      queues_[kind].push_front(std::move(item));
      ++probes_;
      wake_.notify_one();
      return;
    }
    refusal = refused(stopping_ ? EncodeStatus::kStopped : EncodeStatus::kOverloaded);
  }
  item.done(std::move(refusal));
}

void BatchingEncoder::submit(Kind kind, Item item) {
  EncodeResult refusal;
  {
    std::lock_guard lock(mutex_);
    const auto waiting = static_cast<int64_t>(queues_[0].size() + queues_[1].size());
    if (!stopping_ && waiting < options_.max_queue) {
      item.since = Clock::now();
      queues_[kind].push_back(std::move(item));
      wake_.notify_one();
      return;
    }
    refusal = refused(stopping_ ? EncodeStatus::kStopped : EncodeStatus::kOverloaded);
    refusal.retry_after_ms = retry_after_ms();
    ++counts_.overloaded;
  }
  item.done(std::move(refusal));
}

// Called with the lock held: about how long the present queue takes.
int64_t BatchingEncoder::retry_after_ms() const {
  const auto waiting = static_cast<double>(queues_[0].size() + queues_[1].size());
  const double seconds = waiting * item_seconds_ / static_cast<double>(lanes_.size());
  return std::max<int64_t>(1, std::llround(seconds * 1e3));
}

// Waits until a batch should start; false when stopping. An idle machine starts at once; while
// another lane is busy the first item waits for company up to max_wait_ms.
bool BatchingEncoder::wait_for_batch(std::unique_lock<std::mutex>& lock, Kind& kind) {
  for (;;) {
    wake_.wait(lock, [&] { return stopping_ || !queues_[0].empty() || !queues_[1].empty(); });
    if (stopping_) return false;
    // The kind whose first item has waited longest.
    kind = queues_[kImage].empty() || (!queues_[kText].empty() &&
                                       queues_[kText].front().since < queues_[kImage].front().since)
               ? kText
               : kImage;
    const auto& queue = queues_[kind];
    const auto start = queue.front().since + std::chrono::milliseconds(options_.max_wait_ms);
    if (busy_ == 0 || static_cast<int64_t>(queue.size()) >= options_.max_batch ||
        Clock::now() >= start)
      return true;
    wake_.wait_until(lock, start);
  }
}

// Called with the lock held; `items` has room for a batch.
void BatchingEncoder::take(Kind kind, std::vector<Item>& items) noexcept {
  auto& queue = queues_[kind];
  while (!queue.empty() && static_cast<int64_t>(items.size()) < options_.max_batch) {
    probes_ -= queue.front().probe ? 1 : 0;
    items.push_back(std::move(queue.front()));
    queue.pop_front();
  }
}

void BatchingEncoder::lane(std::vector<Item> items) {
  std::unique_lock lock(mutex_);
  Kind kind = kImage;
  while (wait_for_batch(lock, kind)) {
    take(kind, items);
    ++busy_;
    lock.unlock();
    const auto start = Clock::now();
    // Late ones are answered, the others move together.
    size_t live = 0;
    for (Item& item : items) {
      if (item.deadline && *item.deadline <= start)
        item.done(refused(EncodeStatus::kDeadline));
      else if (&item != &items[live++])
        items[live - 1] = std::move(item);
    }
    const size_t late = items.size() - live;
    if (live > 0) compute(kind, std::span(items).first(live));
    items.clear();
    const double spent = std::chrono::duration<double>(Clock::now() - start).count();
    lock.lock();
    --busy_;
    counts_.late += static_cast<int64_t>(late);
    if (live > 0) {
      counts_.items += static_cast<int64_t>(live);
      ++counts_.batches;
      counts_.busy_seconds += spent;
      item_seconds_ += 0.1 * (spent / static_cast<double>(live) - item_seconds_);
    }
    // Whoever waited for company because this lane was busy may go now.
    wake_.notify_one();
  }
}

std::vector<std::vector<float>> BatchingEncoder::run(Kind kind, std::span<const Item> items) {
  std::unique_lock<std::mutex> alone;
  if (!encoder_->thread_safe()) alone = std::unique_lock(encoder_mutex_);
  at::Tensor rows;
  if (kind == kImage) {
    std::vector<Image> images;
    for (const Item& item : items) images.push_back(item.image);
    rows = encoder_->encode_images(std::span<const Image>(images), context_);
  } else {
    std::vector<std::string> texts;
    for (const Item& item : items) texts.push_back(item.text);
    rows = encoder_->encode_texts(texts, context_);
  }
  const int64_t width = rows.size(1);
  std::vector<std::vector<float>> out;
  const float* data = rows.const_data_ptr<float>();
  for (size_t i = 0; i < items.size(); ++i, data += width) out.emplace_back(data, data + width);
  return out;
}

void BatchingEncoder::compute(Kind kind, std::span<Item> items) noexcept {
  const auto start = Clock::now();
  std::vector<std::vector<float>> embeddings;
  try {
    embeddings = run(kind, items);
  } catch (const std::exception& error) {
    // One bad item must not fail its neighbours, and what has no memory together may have it alone.
    if (items.size() > 1) {
      for (size_t i = 0; i < items.size(); ++i) compute(kind, items.subspan(i, 1));
      return;
    }
    {
      std::lock_guard lock(mutex_);
      ++counts_.failed;
    }
    items.front().done(failure(error));
    return;
  }
  const double spent = std::chrono::duration<double>(Clock::now() - start).count();
  for (size_t i = 0; i < items.size(); ++i) {
    EncodeResult result = refused(EncodeStatus::kDone);
    result.embedding = std::move(embeddings[i]);
    result.batch = static_cast<int64_t>(items.size());
    result.wait_seconds = std::chrono::duration<double>(start - items[i].since).count();
    result.encode_seconds = spent;
    keep(items[i].key, result.embedding);
    items[i].done(std::move(result));
  }
}

// A cache that has no memory costs only speed; on a lane's thread its failure would end the
// process.
void BatchingEncoder::keep(const std::string& key, const std::vector<float>& embedding) noexcept {
  if (!cache_) return;
  try {
    cache_->put(key, embedding);
  } catch (const std::exception&) {
    const std::lock_guard lock(mutex_);
    ++counts_.not_kept;
  }
}

BatchingEncoder::Counts BatchingEncoder::counts() const {
  std::lock_guard lock(mutex_);
  Counts counts = counts_;
  counts.queue = static_cast<int64_t>(queues_[0].size() + queues_[1].size());
  return counts;
}

}  // namespace parapet
