#include "parapet/engine/encoder/clip_pipeline.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/thread_pool.h"
#include "parapet/core/threads.h"
#include "parapet/engine/encoder/text_batches.h"
#include "parapet/nn/contrastive.h"

namespace parapet {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

ClipPipeline::ClipPipeline(ClipConfig config, ClipAssets assets, EncoderOptions options)
    : config_(std::move(config)), assets_(std::move(assets)), options_(std::move(options)) {}

void ClipPipeline::require_vision() const {
  if (!config_.has_vision() || !assets_.processor)
    throw UsageError("this model has no image tower");
}

void ClipPipeline::check(const Image& image) const {
  if (image.width < 1 || image.height < 1 ||
      image.rgb.size() != static_cast<size_t>(image.width * image.height * 3))
    throw DataError("image", "is empty or its pixels do not fit its size");
}

Image ClipPipeline::resized(const Image& image) const {
  require_vision();
  check(image);
  return assets_.processor->to_pixels(image);
}

int64_t ClipPipeline::decode_scale() const {
  return options_.exact_decode || !assets_.processor ? 0 : assets_.processor->scale_hint();
}

std::string ClipPipeline::preprocessing_hash() const {
  Sha256 hash;
  if (assets_.processor) hash.update(assets_.processor->to_json().dump());
  hash.update(assets_.files_hash).update(options_.exact_decode ? "exact" : "scaled");
  return hash.hex();
}

at::Tensor ClipPipeline::encode_images(const std::vector<std::string>& locations,
                                       const Context& context, EncodeStats* stats) {
  require_vision();
  DecodeOptions decode;
  decode.scale_for = decode_scale();
  return encode(
      static_cast<int64_t>(locations.size()),
      [&](int64_t i) { return load_image(locations[static_cast<size_t>(i)], decode); }, context,
      stats);
}

at::Tensor ClipPipeline::encode_images(std::span<const Image> images, const Context& context,
                                       EncodeStats* stats) {
  require_vision();
  for (const Image& image : images) check(image);
  const auto start = Clock::now();
  const auto count = static_cast<int64_t>(images.size());
  const int64_t batch = std::max<int64_t>(1, options_.batch_images);
  at::Tensor out = at::empty({count, dim()}, at::kFloat);
  for (int64_t begin = 0; begin < count; begin += batch) {
    if (context.cancelled()) throw Cancelled("stopped while encoding images");
    const int64_t end = std::min(count, begin + batch);
    at::Tensor pixels = new_batch(end - begin);
    auto prepare = [&](int64_t i) {
      put(assets_.processor->to_pixels(images[static_cast<size_t>(begin + i)]), pixels, i);
    };
    // A thread per image costs more than it saves on a few.
    if (end - begin < 4)
      for (int64_t i = 0; i < end - begin; ++i) prepare(i);
    else
      parallel_items(end - begin, options_.decode_threads, prepare);
    c10::InferenceMode inference;
    out.slice(0, begin, end).copy_(nn::normalise_rows(run_images(pixels)));
  }
  if (stats != nullptr) *stats = {.items = count, .seconds = since(start)};
  return out;
}

at::Tensor ClipPipeline::encode(int64_t count, const Fetch& fetch, const Context& context,
                                EncodeStats* stats) {
  const auto start = Clock::now();
  const int64_t batch = std::max<int64_t>(1, options_.batch_images);
  at::Tensor out = at::empty({count, dim()}, at::kFloat);
  Progress progress(context, "images", count, "images");
  double decode_seconds = 0;
  // The next batch is decoded while this one runs through the model.
  auto decode = [&](int64_t begin) {
    return in_background([&, begin] {
      const int64_t end = std::min(count, begin + batch);
      at::Tensor pixels = new_batch(end - begin);
      std::mutex mutex;
      double seconds = 0;
      parallel_items(end - begin, options_.decode_threads, [&](int64_t i) {
        const auto started = Clock::now();
        put(assets_.processor->to_pixels(fetch(begin + i)), pixels, i);
        const double spent = since(started);
        std::lock_guard lock(mutex);
        seconds += spent;
      });
      return std::pair(pixels, seconds);
    });
  };
  Pending<std::pair<at::Tensor, double>> next;
  if (count > 0) next = decode(0);
  for (int64_t begin = 0; begin < count; begin += batch) {
    auto [pixels, seconds] = next.get();
    decode_seconds += seconds;
    if (begin + batch < count) next = decode(begin + batch);
    if (context.cancelled()) throw Cancelled("stopped while encoding images");
    c10::InferenceMode inference;
    out.slice(0, begin, std::min(count, begin + batch))
        .copy_(nn::normalise_rows(run_images(pixels)));
    progress.update(std::min(count, begin + batch));
  }
  if (stats != nullptr)
    *stats = {.items = count, .seconds = since(start), .decode_seconds = decode_seconds};
  return out;
}

at::Tensor ClipPipeline::encode_texts(const std::vector<std::string>& texts, const Context& context,
                                      EncodeStats* stats) {
  if (!config_.has_text() || !assets_.tokenizer) throw UsageError("this model has no text tower");
  const auto start = Clock::now();
  const auto ids = tokenize_all(*assets_.tokenizer, texts, config_.text.max_position_embeddings,
                                options_.decode_threads);
  // Padding behind the end of text is never attended to; the end token itself keeps both pooling
  // rules right.
  const int64_t pad = assets_.tokenizer->eos_id();
  EncodeStats spent;
  spent.items = static_cast<int64_t>(texts.size());
  at::Tensor out = at::empty({spent.items, dim()}, at::kFloat);
  Progress progress(context, "texts", spent.items, "texts");
  int64_t done = 0;
  for (const auto& bucket : length_buckets(ids, std::max<int64_t>(1, options_.batch_texts))) {
    if (context.cancelled()) throw Cancelled("stopped while encoding texts");
    std::vector<const std::vector<int32_t>*> rows;
    for (int64_t index : bucket) {
      rows.push_back(&ids[static_cast<size_t>(index)]);
      spent.tokens += static_cast<int64_t>(rows.back()->size());
    }
    c10::InferenceMode inference;
    const at::Tensor embeds = nn::normalise_rows(run_texts(pad_ids(rows, pad))).cpu();
    for (size_t i = 0; i < bucket.size(); ++i)
      out.select(0, bucket[i]).copy_(embeds.select(0, static_cast<int64_t>(i)));
    done += static_cast<int64_t>(bucket.size());
    progress.update(done);
  }
  spent.seconds = since(start);
  if (stats != nullptr) *stats = spent;
  return out;
}

}  // namespace parapet
