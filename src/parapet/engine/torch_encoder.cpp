#include "parapet/engine/torch_encoder.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <chrono>
#include <future>

#include "parapet/core/error.h"
#include "parapet/core/threads.h"
#include "parapet/engine/text_batches.h"
#include "parapet/nn/precision.h"

namespace parapet {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

at::Tensor normalised(const at::Tensor& embeds) {
  const at::Tensor x = embeds.to(at::kFloat);
  return x / x.norm(2, {-1}, true).clamp_min(1e-12);
}

class TorchEncoder final : public Encoder {
 public:
  TorchEncoder(std::unique_ptr<ClipModel> owned, ClipModel* model, ClipAssets assets,
               const EncoderOptions& options)
      : owned_(std::move(owned)),
        model_(owned_ ? owned_.get() : model),
        assets_(std::move(assets)),
        options_(options),
        device_(options.device) {}

  int64_t dim() const override { return model_->config().projection_dim; }

  double logit_scale() const override {
    const auto& value = model_->logit_scale().value;
    return value.defined() ? std::exp(value.item<double>()) : 1.0;
  }

  at::Tensor encode_images(const std::vector<std::string>& locations,
                           const Context& context) override;
  at::Tensor encode_texts(const std::vector<std::string>& texts, const Context& context) override;
  const EncodeStats& image_stats() const override { return image_stats_; }
  const EncodeStats& text_stats() const override { return text_stats_; }

 private:
  // Decoded, resized, normalised pixels [n, 3, h, w] of locations[begin, end).
  at::Tensor decode(const std::vector<std::string>& locations, int64_t begin, int64_t end,
                    double& seconds) const;

  std::unique_ptr<ClipModel> owned_;
  ClipModel* model_;
  ClipAssets assets_;
  EncoderOptions options_;
  at::Device device_;
  EncodeStats image_stats_, text_stats_;
};

at::Tensor TorchEncoder::decode(const std::vector<std::string>& locations, int64_t begin,
                                int64_t end, double& seconds) const {
  const ImageProcessor& processor = *assets_.processor;
  const int64_t plane = 3 * processor.height() * processor.width();
  at::Tensor pixels =
      at::empty({end - begin, 3, processor.height(), processor.width()}, at::kFloat);
  float* data = pixels.data_ptr<float>();
  DecodeOptions decode_options;
  if (!options_.exact_decode) decode_options.scale_for = processor.scale_hint();
  std::mutex mutex;
  parallel_items(end - begin, options_.decode_threads, [&](int64_t i) {
    const auto start = Clock::now();
    const Image image = load_image(locations[begin + i], decode_options);
    processor.normalise(processor.to_pixels(image), data + i * plane);
    const double spent = since(start);
    std::lock_guard lock(mutex);
    seconds += spent;
  });
  return pixels;
}

at::Tensor TorchEncoder::encode_images(const std::vector<std::string>& locations,
                                       const Context& context) {
  if (!model_->config().has_vision() || !assets_.processor)
    throw UsageError("this model has no image tower");
  const auto start = Clock::now();
  const auto count = static_cast<int64_t>(locations.size());
  const int64_t batch = std::max<int64_t>(1, options_.batch_images);
  image_stats_ = {};
  image_stats_.items = count;
  at::Tensor out = at::empty({count, dim()}, at::kFloat);
  Progress progress(context, "images", count, "images");
  double decode_seconds = 0;
  // The next batch is decoded while this one runs through the model.
  auto fetch = [&](int64_t begin) {
    return std::async(std::launch::async, [&, begin] {
      double seconds = 0;
      at::Tensor pixels = decode(locations, begin, std::min(count, begin + batch), seconds);
      return std::pair(pixels, seconds);
    });
  };
  std::future<std::pair<at::Tensor, double>> next;
  if (count > 0) next = fetch(0);
  for (int64_t begin = 0; begin < count; begin += batch) {
    auto [pixels, seconds] = next.get();
    decode_seconds += seconds;
    if (begin + batch < count) next = fetch(begin + batch);
    if (context.cancelled()) throw Cancelled("stopped while encoding images");
    c10::InferenceMode inference;
    out.slice(0, begin, std::min(count, begin + batch))
        .copy_(normalised(model_->encode_image(pixels.to(device_))));
    progress.update(std::min(count, begin + batch));
  }
  image_stats_.decode_seconds = decode_seconds;
  image_stats_.seconds = since(start);
  return out;
}

at::Tensor TorchEncoder::encode_texts(const std::vector<std::string>& texts,
                                      const Context& context) {
  if (!model_->config().has_text() || !assets_.tokenizer)
    throw UsageError("this model has no text tower");
  const auto start = Clock::now();
  const ClipTextConfig& config = model_->config().text;
  const auto ids = tokenize_all(*assets_.tokenizer, texts, config.max_position_embeddings,
                                options_.decode_threads);
  // Padding behind the end of text is never attended to; the end token itself keeps both pooling
  // rules right.
  const int64_t pad = assets_.tokenizer->eos_id();
  text_stats_ = {};
  text_stats_.items = static_cast<int64_t>(texts.size());
  at::Tensor out = at::empty({text_stats_.items, dim()}, at::kFloat);
  Progress progress(context, "texts", text_stats_.items, "texts");
  int64_t done = 0;
  for (const auto& bucket : length_buckets(ids, std::max<int64_t>(1, options_.batch_texts))) {
    if (context.cancelled()) throw Cancelled("stopped while encoding texts");
    std::vector<const std::vector<int32_t>*> rows;
    for (int64_t index : bucket) {
      rows.push_back(&ids[index]);
      text_stats_.tokens += static_cast<int64_t>(ids[index].size());
    }
    c10::InferenceMode inference;
    const at::Tensor embeds = normalised(model_->encode_text(pad_ids(rows, pad).to(device_))).cpu();
    for (size_t i = 0; i < bucket.size(); ++i)
      out.select(0, bucket[i]).copy_(embeds.select(0, static_cast<int64_t>(i)));
    done += static_cast<int64_t>(bucket.size());
    progress.update(done);
  }
  text_stats_.seconds = since(start);
  return out;
}

}  // namespace

ClipAssets load_clip_assets(const std::filesystem::path& folder, const ClipConfig& config) {
  ClipAssets assets;
  if (config.has_text()) assets.tokenizer = Tokenizer::load(folder);
  if (config.has_vision()) {
    assets.processor = std::filesystem::exists(folder / "preprocessor_config.json")
                           ? ImageProcessor::load(folder)
                           : ImageProcessor::clip_default(config.vision.image_size);
    if (assets.processor->height() != config.vision.image_size ||
        assets.processor->width() != config.vision.image_size)
      throw DataError((folder / "preprocessor_config.json").string(),
                      "makes " + std::to_string(assets.processor->width()) + " x " +
                          std::to_string(assets.processor->height()) + " pixels, the model takes " +
                          std::to_string(config.vision.image_size));
  }
  return assets;
}

std::unique_ptr<Encoder> wrap_encoder(ClipModel& model, const ClipAssets& assets,
                                      const EncoderOptions& options) {
  return std::make_unique<TorchEncoder>(nullptr, &model, assets, options);
}

std::unique_ptr<Encoder> open_encoder(const std::filesystem::path& model,
                                      const EncoderOptions& options, const Context& context) {
  if (options.backend != "torch")
    throw UsageError("--backend: '" + options.backend + "' is not one of torch");
  const nn::Precision precision = nn::resolve_precision(options.precision, options.device);
  if (!precision.note.empty()) context.info(precision.note);
  auto clip = std::make_unique<ClipModel>(
      ClipModel::load(model, at::Device(options.device), precision.weights));
  clip->set_compute(precision.compute);
  if (!options.adapter.empty()) nn::load_lora(clip->linears(), options.adapter);
  ClipAssets assets = load_clip_assets(model, clip->config());
  return std::make_unique<TorchEncoder>(std::move(clip), nullptr, std::move(assets), options);
}

void EncoderOptions::visit(OptionList& list) {
  list.add("backend", backend, "what runs the model", {"torch"});
  list.add("precision", precision, "auto = bf16 where the hardware has it, else fp32",
           {"auto", "fp32", "bf16"});
  list.add("adapter", adapter, "PEFT LoRA folder applied to the model");
  list.add("batch-images", batch_images, "images per forward pass");
  list.add("batch-texts", batch_texts, "texts per forward pass");
  list.add("exact-decode", exact_decode, "decode JPEG at full size always");
  list.add("decode-threads", decode_threads, "threads for decoding and tokenizing; 0 = all cores");
}

}  // namespace parapet
