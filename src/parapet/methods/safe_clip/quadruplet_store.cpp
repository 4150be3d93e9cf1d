#include "parapet/methods/safe_clip/quadruplet_store.h"

#include <ATen/ATen.h>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/threads.h"
#include "parapet/engine/text_batches.h"
#include "parapet/formats/safetensors.h"
#include "parapet/nn/checkpoint.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
constexpr const char* kNames[] = {"safe_text", "unsafe_text", "safe_image", "unsafe_image"};

std::vector<std::string> column(const std::vector<Quadruplet>& items,
                                std::string Quadruplet::*field) {
  std::vector<std::string> values;
  values.reserve(items.size());
  for (const auto& item : items) values.push_back(item.*field);
  return values;
}

// Content of all texts and images, in order.
std::string data_key(const QuadrupletStore& store) {
  const auto& items = store.items();
  std::vector<std::string> hashes(items.size());
  parallel_items(store.size(), 0, [&](int64_t i) {
    const Quadruplet& item = items[i];
    Sha256 hash;
    for (const auto* text : {&item.safe_text, &item.unsafe_text})
      hash.update(std::to_string(text->size())).update(":").update(*text);
    for (const auto* image : {&item.safe_image, &item.unsafe_image})
      hash.update(sha256_hex(read_location(*image, int64_t{64} << 20)));
    hashes[i] = hash.hex();
  });
  Sha256 all;
  for (const auto& hash : hashes) all.update(hash);
  return all.hex();
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
std::vector<std::string> QuadrupletStore::unsafe_images() const {
  return column(items_, &Quadruplet::unsafe_image);
}

QuadrupletEmbeddings reference_embeddings(const QuadrupletStore& store, Encoder& original,
                                          const std::string& model_key, const fs::path& cache,
                                          const Context& context) {
  fs::path file;
  if (!cache.empty()) {
    const std::string key = Sha256().update(model_key).update(data_key(store)).hex();
    file = cache / ("reference-" + key.substr(0, 32) + ".safetensors");
  }
  QuadrupletEmbeddings out;
  at::Tensor* parts[] = {&out.safe_text, &out.unsafe_text, &out.safe_image, &out.unsafe_image};
  if (!file.empty() && fs::exists(file)) {
    const TensorArchive archive = TensorArchive::open(file);
    for (int i = 0; i < 4; ++i) {
      const TensorView* view = archive.find(kNames[i]);
      if (view == nullptr || view->shape != std::vector<int64_t>{store.size(), original.dim()})
        throw DataError(file.string(), std::string("tensor '") + kNames[i] + "' does not fit",
                        "Delete the file; it is computed again.");
      *parts[i] = nn::to_tensor(*view);
    }
    context.info("reference embeddings: " + file.string());
    return out;
  }
  context.info("reference embeddings of " + std::to_string(store.size()) + " quadruplets");
  out.safe_text = original.encode_texts(store.safe_texts(), context);
  out.unsafe_text = original.encode_texts(store.unsafe_texts(), context);
  out.safe_image = original.encode_images(store.safe_images(), context);
  out.unsafe_image = original.encode_images(store.unsafe_images(), context);
  if (!file.empty()) {
    fs::create_directories(cache);
    nn::NamedTensors tensors;
    for (int i = 0; i < 4; ++i) tensors.emplace_back(kNames[i], *parts[i]);
    nn::save_tensors(file, tensors);
  }
  return out;
}

std::string model_content_key(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto extension = entry.path().extension();
    if (entry.is_regular_file() &&
        (extension == ".json" || extension == ".safetensors" || extension == ".txt"))
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  Sha256 hash;
  for (const auto& file : files) hash.update(file.filename().string()).update(sha256_file(file));
  return hash.hex();
}

}  // namespace parapet
