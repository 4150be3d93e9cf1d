#include "parapet/methods/guard_heads/filter_inputs.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/random.h"
#include "parapet/core/threads.h"
#include "parapet/data/input_rows.h"
#include "parapet/engine/encoder/text_batches.h"
#include "parapet/nn/contrastive.h"
#include "parapet/training/sharding.h"

namespace parapet {
namespace {

constexpr int64_t kChunk = 64;

Random change_random(uint64_t seed, const char* what, int64_t version, int64_t row) {
  return Random::named(seed, std::string("guard.augment.") + what + "." + std::to_string(version) +
                                 "." + std::to_string(row));
}

}  // namespace

FilterInputs::FilterInputs(const FilterSet& set, const ClipAssets& assets, int64_t max_tokens,
                           const AugmentOptions& augment, uint64_t seed)
    : set_(set), assets_(assets), max_tokens_(max_tokens), augment_(augment), seed_(seed) {
  AugmentOptions options = augment;
  OptionList list;
  options.visit(list);
  changes_ = to_toml(list) + std::to_string(seed);
}

at::Tensor FilterInputs::pixels(const std::vector<int64_t>& rows, int64_t version) const {
  const ImageProcessor& processor = *assets_.processor;
  at::Tensor out = at::zeros(
      {static_cast<int64_t>(rows.size()), 3, processor.height(), processor.width()}, at::kFloat);
  float* data = out.data_ptr<float>();
  const int64_t plane = 3 * processor.height() * processor.width();
  DecodeOptions decode;
  decode.scale_for = processor.scale_hint();
  parallel_items(static_cast<int64_t>(rows.size()), 0, [&](int64_t i) {
    const LabelSample& sample = set_.samples[rows[i]];
    if (sample.image.empty()) return;
    Image image = processor.to_pixels(load_image(sample.image, decode));
    if (version > 0) {
      Random random = change_random(seed_, "image", version, rows[i]);
      image = augment_image(image, augment_, random);
    }
    processor.normalise(image, data + i * plane);
  });
  return out;
}

at::Tensor FilterInputs::ids(const std::vector<int64_t>& rows, int64_t version) const {
  std::vector<std::string> texts;
  for (const int64_t row : rows) {
    texts.push_back(set_.samples[row].text);
    if (version == 0) continue;
    Random random = change_random(seed_, "text", version, row);
    texts.back() = augment_text(texts.back(), augment_, random);
  }
  const auto lists = tokenize_all(*assets_.tokenizer, texts, max_tokens_, 1);
  std::vector<const std::vector<int32_t>*> pointers;
  for (const auto& list : lists) pointers.push_back(&list);
  return pad_ids(pointers, assets_.tokenizer->eos_id());
}

const at::Tensor& FilterInputs::text_keys() const {
  if (text_keys_.defined()) return text_keys_;
  std::vector<int64_t> keys;
  for (const LabelSample& sample : set_.samples) keys.push_back(parapet::content_key(sample.text));
  return text_keys_ = at::tensor(keys, at::kLong);
}

const at::Tensor& FilterInputs::image_keys() const {
  if (image_keys_.defined()) return image_keys_;
  std::vector<int64_t> keys(set_.samples.size());
  parallel_items(set_.size(), 0, [&](int64_t i) {
    const std::string& image = set_.samples[static_cast<size_t>(i)].image;
    if (!image.empty())
      keys[static_cast<size_t>(i)] = parapet::content_key(read_location(image, int64_t{64} << 20));
  });
  return image_keys_ = at::tensor(keys, at::kLong);
}

bool FilterInputs::has(bool image, int64_t row) const {
  const LabelSample& sample = set_.samples[static_cast<size_t>(row)];
  return !(image ? sample.image : sample.text).empty();
}

std::string FilterInputs::embedding_key(bool image, int64_t row, int64_t version,
                                        const std::string& encoder) const {
  const LabelSample& sample = set_.samples[static_cast<size_t>(row)];
  const std::string content = image ? read_location(sample.image, int64_t{64} << 20) : sample.text;
  const std::string kind = image ? "image" : "text";
  if (version == 0) return EmbeddingStore::key(kind, encoder, content);
  return EmbeddingStore::key(
      kind + " changed by\n" + changes_ + "," + std::to_string(version) + "," + std::to_string(row),
      encoder, content);
}

namespace {

// Embeds a set side by side and version by version.
class SetEmbedder {
 public:
  SetEmbedder(const FilterInputs& inputs, const ClipModel& model, const std::string& encoder_key,
              EmbeddingStore* store)
      : inputs_(inputs), model_(model), encoder_key_(encoder_key), store_(store) {}

  // [rows, d] on the CPU; rows without the side are 0.
  at::Tensor embed(bool image, const std::vector<int64_t>& rows, int64_t version) {
    const int64_t width = model_.config().embedding_dim();
    at::Tensor out = at::zeros({static_cast<int64_t>(rows.size()), width});
    std::vector<int64_t> places;  // of the rows that have the side
    for (size_t i = 0; i < rows.size(); ++i)
      if (inputs_.has(image, rows[i])) places.push_back(static_cast<int64_t>(i));
    std::vector<std::string> keys(places.size());
    asked_ += static_cast<int64_t>(places.size());
    if (store_ != nullptr) {
      parallel_items(static_cast<int64_t>(places.size()), 0, [&](int64_t i) {
        const auto place = static_cast<size_t>(places[static_cast<size_t>(i)]);
        keys[static_cast<size_t>(i)] =
            inputs_.embedding_key(image, rows[place], version, encoder_key_);
      });
      places = take_known(keys, places, out);
    }
    computed_ += static_cast<int64_t>(places.size());
    if (!places.empty()) compute(image, rows, version, places, keys, out);
    return out;
  }
  int64_t asked() const { return asked_; }
  int64_t computed() const { return computed_; }

 private:
  // Puts what the store has into `out`; returns the other places and leaves only their keys.
  std::vector<int64_t> take_known(std::vector<std::string>& keys,
                                  const std::vector<int64_t>& places, at::Tensor& out) {
    const int64_t width = out.size(1);
    const auto found = store_->find_all(keys, width);
    std::vector<int64_t> missing;
    std::vector<std::string> missing_keys;
    for (size_t i = 0; i < places.size(); ++i) {
      if (found[i].empty()) {
        missing.push_back(places[i]);
        missing_keys.push_back(keys[i]);
      } else {
        std::copy_n(found[i].data(), width, out.data_ptr<float>() + places[i] * width);
      }
    }
    keys = std::move(missing_keys);
    return missing;
  }

  void compute(bool image, const std::vector<int64_t>& rows, int64_t version,
               const std::vector<int64_t>& places, const std::vector<std::string>& keys,
               at::Tensor& out) {
    std::vector<int64_t> wanted;
    for (const int64_t place : places) wanted.push_back(rows[static_cast<size_t>(place)]);
    const at::Device device = model_.device();
    const at::Tensor embeds =
        nn::normalise_rows(image ? model_.encode_image(inputs_.pixels(wanted, version).to(device))
                                 : model_.encode_text(inputs_.ids(wanted, version).to(device)))
            .cpu()
            .contiguous();
    out.index_copy_(0, at::tensor(places, at::kLong), embeds);
    if (store_ == nullptr) return;
    const auto width = static_cast<size_t>(embeds.size(1));
    std::vector<EmbeddingStore::Row> kept;
    for (size_t i = 0; i < keys.size(); ++i)
      kept.emplace_back(keys[i], std::span(embeds.const_data_ptr<float>() + i * width, width));
    store_->put(kept);
  }

  const FilterInputs& inputs_;
  const ClipModel& model_;
  std::string encoder_key_;
  EmbeddingStore* store_;
  int64_t asked_ = 0, computed_ = 0;
};

}  // namespace

FilterEmbeddings embed_filter_set(const FilterInputs& inputs, const ClipModel& model,
                                  int64_t copies, const std::string& encoder_key,
                                  EmbeddingStore* store, Communicator& communicator,
                                  const Context& context) {
  const at::NoGradGuard guard;
  const RowRange own = own_share(inputs.set().size(), kChunk, communicator);
  const at::Tensor none = at::empty({0, model.config().embedding_dim()});
  std::vector<std::vector<at::Tensor>> images(static_cast<size_t>(copies + 1), {none});
  auto texts = images;
  SetEmbedder embedder(inputs, model, encoder_key, store);
  {
    Progress progress(context, "embedding", (copies + 1) * own.size(), "samples");
    for (int64_t version = 0; version <= copies; ++version) {
      for (int64_t first = own.begin; first < own.end; first += kChunk) {
        if (context.cancelled()) throw Cancelled("stopped while embedding");
        std::vector<int64_t> rows(static_cast<size_t>(std::min(kChunk, own.end - first)));
        std::iota(rows.begin(), rows.end(), first);
        images[static_cast<size_t>(version)].push_back(embedder.embed(true, rows, version));
        texts[static_cast<size_t>(version)].push_back(embedder.embed(false, rows, version));
        progress.update(version * own.size() + first - own.begin +
                        static_cast<int64_t>(rows.size()));
      }
    }
  }
  if (store != nullptr && communicator.is_main())
    context.info("embeddings: " + std::to_string(embedder.asked() - embedder.computed()) + " of " +
                 std::to_string(embedder.asked()) + " came from " + store->file().string());
  communicator.meet(context);
  const auto all = [&](std::vector<std::vector<at::Tensor>>& versions) {
    std::vector<at::Tensor> list;
    for (auto& parts : versions) list.push_back(gather_shares(at::cat(parts), communicator));
    return at::stack(list);
  };
  FilterEmbeddings out;
  out.image = all(images);
  out.text = all(texts);
  return out;
}

}  // namespace parapet
