#include "parapet/methods/safe_clip/quadruplet_store.h"

#include <ATen/ATen.h>

#include "parapet/engine/encoder/text_batches.h"

namespace parapet {
namespace {

std::vector<std::string> column(const std::vector<Quadruplet>& items,
                                std::string Quadruplet::*field) {
  std::vector<std::string> values;
  values.reserve(items.size());
  for (const auto& item : items) values.push_back(item.*field);
  return values;
}

}  // namespace

QuadrupletStore::QuadrupletStore(std::vector<Quadruplet> items, ClipAssets assets,
                                 int64_t max_tokens, int64_t pixel_budget)
    : items_(std::move(items)), assets_(std::move(assets)), pixel_budget_(pixel_budget) {
  safe_ids_ = tokenize_all(*assets_.tokenizer, safe_texts(), max_tokens, 0);
  unsafe_ids_ = tokenize_all(*assets_.tokenizer, unsafe_texts(), max_tokens, 0);
  cache_.resize(2 * items_.size());
}

at::Tensor QuadrupletStore::ids(const std::vector<int64_t>& rows) const {
  std::vector<const std::vector<int32_t>*> lists;
  for (int64_t row : rows) lists.push_back(&safe_ids_[row]);
  for (int64_t row : rows) lists.push_back(&unsafe_ids_[row]);
  return pad_ids(lists, assets_.tokenizer->eos_id());
}

const Image& QuadrupletStore::cached(int64_t slot, const std::string& location,
                                     Image& scratch) const {
  {
    std::lock_guard lock(mutex_);
    if (cache_[slot]) return *cache_[slot];
  }
  DecodeOptions decode;
  decode.scale_for = assets_.processor->scale_hint();
  scratch = assets_.processor->to_pixels(load_image(location, decode));
  std::lock_guard lock(mutex_);
  const auto bytes = static_cast<int64_t>(scratch.rgb.size());
  if (cache_[slot] || cached_bytes_ + bytes > pixel_budget_) return scratch;
  cached_bytes_ += bytes;
  cache_[slot] = std::make_unique<Image>(std::move(scratch));
  return *cache_[slot];
}

at::Tensor QuadrupletStore::pixels(const std::vector<int64_t>& rows) const {
  const ImageProcessor& processor = *assets_.processor;
  const auto n = static_cast<int64_t>(rows.size());
  at::Tensor out = at::empty({2 * n, 3, processor.height(), processor.width()}, at::kFloat);
  float* data = out.data_ptr<float>();
  const int64_t plane = 3 * processor.height() * processor.width();
  for (int64_t i = 0; i < 2 * n; ++i) {
    const int64_t row = rows[i % n];
    const bool safe = i < n;
    Image scratch;
    processor.normalise(cached(safe ? row : size() + row,
                               safe ? items_[row].safe_image : items_[row].unsafe_image, scratch),
                        data + i * plane);
  }
  return out;
}

std::vector<std::string> QuadrupletStore::safe_texts() const {
  return column(items_, &Quadruplet::safe_text);
}
std::vector<std::string> QuadrupletStore::unsafe_texts() const {
  return column(items_, &Quadruplet::unsafe_text);
}
std::vector<std::string> QuadrupletStore::safe_images() const {
  return column(items_, &Quadruplet::safe_image);
}

}  // namespace parapet
