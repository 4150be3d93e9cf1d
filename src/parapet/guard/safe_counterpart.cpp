#include "parapet/guard/safe_counterpart.h"

#include <future>

#include "parapet/core/error.h"
#include "parapet/data/dataset.h"
#include "parapet/guard/cosine.h"

namespace parapet::guard {
namespace {

constexpr int64_t kImageCap = int64_t{64} << 20;
constexpr size_t kAtOnce = ModelStore::kLeastQueue / 2;  // a text and an image each

Embedding done(EncodeResult result, const std::string& what) {
  if (!result.ok())
    throw DataError(what, result.error.empty() ? "cannot be embedded" : result.error);
  return std::move(result.embedding);
}

}  // namespace

SafeCounterpart::SafeCounterpart(std::shared_ptr<const SharedEncoder> hardened,
                                 const std::filesystem::path& gallery, const Context& context)
    : hardened_(std::move(hardened)) {
  if (gallery.empty()) return;
  for (CaptionSample& sample : load_captions(gallery, "")) {
    Item item;
    item.id = sample.id;
    item.text = sample.text;
    item.image = sample.image;
    items_.push_back(std::move(item));
  }
  require_samples(items_.size(), gallery, "captions.jsonl", "");
  Progress progress(context, "Gallery", static_cast<int64_t>(items_.size()), "items");
  for (size_t first = 0; first < items_.size(); first += kAtOnce) {
    const size_t last = std::min(items_.size(), first + kAtOnce);
    std::vector<std::future<EncodeResult>> texts, images;
    for (size_t i = first; i < last; ++i) {
      texts.push_back(hardened_->batches->encode_text(items_[i].text));
      images.push_back(hardened_->batches->encode_image_bytes(
          read_location(items_[i].image, kImageCap), items_[i].image));
    }
    for (size_t i = first; i < last; ++i) {
      items_[i].text_embedding = done(texts[i - first].get(), items_[i].id);
      items_[i].image_embedding = done(images[i - first].get(), items_[i].image);
    }
    progress.update(static_cast<int64_t>(last));
  }
}

Embedding SafeCounterpart::embed(const PreparedPart& part) const {
  EncodeResult result = part.modality == Modality::kImage
                            ? hardened_->batches->encode_image(*part.image, part.bytes).get()
                            : hardened_->batches->encode_text(part.text).get();
  return result.ok() ? std::move(result.embedding) : Embedding{};
}

SafeCounterpart::Found SafeCounterpart::nearest_image(const Embedding& embedding) const {
  const Item* best = nullptr;
  double highest = -2;
  for (const Item& item : items_) {
    const double cosine = cosine_of(embedding, item.image_embedding);
    if (cosine > highest) {
      highest = cosine;
      best = &item;
    }
  }
  if (best == nullptr || embedding.empty()) return {};
  return {encode_png(load_image(best->image)), best->id, highest, true};
}

SafeCounterpart::Found SafeCounterpart::nearest_text(const Embedding& embedding) const {
  const Item* best = nullptr;
  double highest = -2;
  for (const Item& item : items_) {
    const double cosine = cosine_of(embedding, item.text_embedding);
    if (cosine > highest) {
      highest = cosine;
      best = &item;
    }
  }
  if (best == nullptr || embedding.empty()) return {};
  return {best->text, best->id, highest, true};
}

}  // namespace parapet::guard
