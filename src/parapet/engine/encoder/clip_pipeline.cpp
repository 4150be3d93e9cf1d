#include "parapet/engine/encoder/clip_pipeline.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/thread_pool.h"
#include "parapet/core/threads.h"
#include "parapet/engine/encoder/text_batches.h"
#include "parapet/nn/contrastive.h"
#include "parapet/nn/device_graph.h"
#include "parapet/nn/layers.h"

namespace parapet {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kDeviceBatch = 256;  // where the options leave the number as it is
// Batches that a device has been given and not ended.
constexpr size_t kUnderWay = 2;
// Texts on a device are padded to widths of which there are few, since each shape costs some
// setting up the first time.
constexpr int64_t kDeviceWidths = 8;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

ClipPipeline::ClipPipeline(ClipConfig config, ClipAssets assets, EncoderOptions options,
                           at::Device device)
    : config_(config), assets_(std::move(assets)), options_(std::move(options)), staging_(device) {}

int64_t ClipPipeline::image_batch() const {
  const int64_t asked = std::max<int64_t>(1, options_.batch_images);
  if (staging_.device().is_cpu() || asked != EncoderOptions().batch_images) return asked;
  // A layer holds some 14 rows of float32 for each patch at once; half of what is free may go
  // there.
  const int64_t bytes = (config_.vision.patches() + 1) * config_.vision.hidden_size * 14 * 4;
  const int64_t free = nn::free_memory(staging_.device());
  return free < 0 ? kDeviceBatch : std::clamp<int64_t>(free / 2 / bytes, 1, kDeviceBatch);
}

int64_t ClipPipeline::text_batch() const {
  const int64_t asked = std::max<int64_t>(1, options_.batch_texts);
  const bool own = staging_.device().is_cpu() || asked != EncoderOptions().batch_texts;
  return own ? asked : kDeviceBatch;
}

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
  const int64_t batch = image_batch();
  at::Tensor out = staging_.memory({count, dim()}, at::kFloat);
  nn::Pace pace(staging_.device(), kUnderWay);
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
    staging_.send({&pixels}).wait();
    c10::InferenceMode inference;
    out.slice(0, begin, end).copy_(nn::normalise_rows(run_images(pixels)), true);
    pace.step();
  }
  pace.finish();
  if (stats != nullptr) *stats = {.items = count, .seconds = since(start)};
  return out;
}

at::Tensor ClipPipeline::encode(int64_t count, const Fetch& fetch, const Context& context,
                                EncodeStats* stats) {
  const auto start = Clock::now();
  const int64_t batch = image_batch();
  at::Tensor out = staging_.memory({count, dim()}, at::kFloat);
  Progress progress(context, "images", count, "images");
  double decode_seconds = 0;
  struct Decoded {
    at::Tensor pixels;
    nn::Arrival arrival;
    double seconds = 0;
  };
  // The next batch is decoded, and set on its way, while this one runs through the model; a device
  // leaves the cores free for more than one.
  auto decode = [&](int64_t begin) {
    return in_background([&, begin] {
      const int64_t end = std::min(count, begin + batch);
      Decoded out;
      out.pixels = new_batch(end - begin);
      std::mutex mutex;
      parallel_items(end - begin, options_.decode_threads, [&](int64_t i) {
        const auto started = Clock::now();
        put(assets_.processor->to_pixels(fetch(begin + i)), out.pixels, i);
        const double spent = since(started);
        std::lock_guard lock(mutex);
        out.seconds += spent;
      });
      out.arrival = staging_.send({&out.pixels});
      return out;
    });
  };
  const size_t ahead = staging_.device().is_cpu() ? 1 : 3;
  std::deque<Pending<Decoded>> decoding;
  int64_t asked = 0;
  const auto ask = [&] {
    for (; decoding.size() < ahead && asked < count; asked += batch)
      decoding.push_back(decode(asked));
  };
  nn::Pace pace(staging_.device(), kUnderWay);
  ask();
  for (int64_t begin = 0; begin < count; begin += batch) {
    const Decoded now = decoding.front().get();
    decoding.pop_front();
    ask();
    decode_seconds += now.seconds;
    if (context.cancelled()) throw Cancelled("stopped while encoding images");
    now.arrival.wait();
    c10::InferenceMode inference;
    out.slice(0, begin, std::min(count, begin + batch))
        .copy_(nn::normalise_rows(run_images(now.pixels)), true);
    pace.step();
    progress.update(std::min(count, begin + batch));
  }
  pace.finish();
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
  at::Tensor by_length = staging_.memory({spent.items, dim()}, at::kFloat);
  std::vector<int64_t> places;  // of the rows by length
  Progress progress(context, "texts", spent.items, "texts");
  nn::Pace pace(staging_.device(), kUnderWay);
  int64_t done = 0;
  const int64_t multiple = staging_.device().is_cpu() ? 1 : kDeviceWidths;
  for (const auto& bucket : length_buckets(ids, text_batch())) {
    if (context.cancelled()) throw Cancelled("stopped while encoding texts");
    std::vector<const std::vector<int32_t>*> rows;
    for (int64_t index : bucket) {
      rows.push_back(&ids[static_cast<size_t>(index)]);
      spent.tokens += static_cast<int64_t>(rows.back()->size());
    }
    at::Tensor batch = pad_ids(rows, pad, multiple, text_context());
    nn::check_ids(batch, config_.text.vocab_size, "text");  // a device would stop at a wrong one
    staging_.send({&batch}).wait();
    c10::InferenceMode inference;
    by_length.slice(0, done, done + static_cast<int64_t>(bucket.size()))
        .copy_(nn::normalise_rows(run_texts(batch)), true);
    pace.step();
    places.insert(places.end(), bucket.begin(), bucket.end());
    done += static_cast<int64_t>(bucket.size());
    progress.update(done);
  }
  pace.finish();
  at::Tensor out = at::empty_like(by_length);
  if (done > 0) out.index_copy_(0, at::tensor(places, at::kLong), by_length);
  spent.seconds = since(start);
  if (stats != nullptr) *stats = spent;
  return out;
}

}  // namespace parapet
