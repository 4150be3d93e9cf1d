#include "parapet/methods/guard_heads/filter_inputs.h"

#include <ATen/ATen.h>

#include <numeric>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/random.h"
#include "parapet/core/threads.h"
#include "parapet/data/input_rows.h"
#include "parapet/engine/encoder/text_batches.h"
#include "parapet/formats/safetensors.h"
#include "parapet/nn/checkpoint.h"
#include "parapet/nn/contrastive.h"
#include "parapet/training/sharding.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kChunk = 64;

Random change_random(uint64_t seed, const char* what, int64_t version, int64_t row) {
  return Random::named(seed, std::string("guard.augment.") + what + "." + std::to_string(version) +
                                 "." + std::to_string(row));
}

// 1 where the sample has the side, as a column.
at::Tensor presence(const FilterSet& set, bool image) {
  at::Tensor mask = at::empty({set.size(), 1});
  float* data = mask.data_ptr<float>();
  for (const LabelSample& sample : set.samples)
    *data++ = (image ? sample.image : sample.text).empty() ? 0.0f : 1.0f;
  return mask;
}

bool load_cached(const fs::path& file, const std::vector<int64_t>& shape, FilterEmbeddings& out) {
  if (file.empty() || !fs::exists(file)) return false;
  const TensorArchive archive = TensorArchive::open(file);
  for (const auto& [name, tensor] : {std::pair{"image", &out.image}, {"text", &out.text}}) {
    const TensorView* view = archive.find(name);
    if (view == nullptr || view->shape != shape)
      throw DataError(file.string(), std::string("tensor '") + name + "' does not fit",
                      "Delete the file; it is computed again.");
    *tensor = nn::to_tensor(*view);
  }
  return true;
}

}  // namespace

FilterInputs::FilterInputs(const FilterSet& set, const ClipAssets& assets, int64_t max_tokens,
                           const AugmentOptions& augment, uint64_t seed)
    : set_(set), assets_(assets), max_tokens_(max_tokens), augment_(augment), seed_(seed) {}

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

std::string FilterInputs::content_key(int64_t copies) const {
  std::vector<std::string> hashes(set_.samples.size());
  parallel_items(set_.size(), 0, [&](int64_t i) {
    const LabelSample& sample = set_.samples[i];
    Sha256 hash;
    hash.update(std::to_string(sample.text.size()) + ":" + sample.text);
    if (!sample.image.empty()) hash.update(read_location(sample.image, int64_t{64} << 20));
    hashes[i] = hash.hex();
  });
  Sha256 all;
  all.update(kPixelsVersion);
  if (copies > 0) {
    AugmentOptions copy = augment_;
    OptionList list;
    copy.visit(list);
    all.update(to_toml(list) + std::to_string(copies) + "," + std::to_string(seed_));
  }
  for (const auto& hash : hashes) all.update(hash);
  return all.hex();
}

namespace {

// This process's share of one version, as it comes from the model.
void embed_version(const FilterInputs& inputs, const ClipModel& model, int64_t version,
                   const RowRange& own, Progress& progress, const Context& context,
                   std::vector<at::Tensor>& images, std::vector<at::Tensor>& texts) {
  const at::Device device = const_cast<ClipModel&>(model).logit_scale().value.device();
  for (int64_t first = own.begin; first < own.end; first += kChunk) {
    if (context.cancelled()) throw Cancelled("stopped while embedding");
    std::vector<int64_t> rows(static_cast<size_t>(std::min(kChunk, own.end - first)));
    std::iota(rows.begin(), rows.end(), first);
    const at::Tensor pixels = inputs.pixels(rows, version).to(device).to(model.compute());
    images.push_back(nn::normalise_rows(model.encode_image(pixels)).cpu());
    texts.push_back(
        nn::normalise_rows(model.encode_text(inputs.ids(rows, version).to(device))).cpu());
    progress.update(version * own.size() + first - own.begin + static_cast<int64_t>(rows.size()));
  }
}

FilterEmbeddings compute_embeddings(const FilterInputs& inputs, const ClipModel& model,
                                    int64_t copies, Communicator& communicator,
                                    const Context& context) {
  const at::NoGradGuard guard;
  const FilterSet& set = inputs.set();
  const RowRange own = own_share(set.size(), kChunk, communicator);
  const at::Tensor none = at::empty({0, model.config().embedding_dim()});
  std::vector<std::vector<at::Tensor>> images(static_cast<size_t>(copies + 1), {none});
  auto texts = images;
  {
    Progress progress(context, "embedding", (copies + 1) * own.size(), "samples");
    for (int64_t version = 0; version <= copies; ++version) {
      const auto v = static_cast<size_t>(version);
      embed_version(inputs, model, version, own, progress, context, images[v], texts[v]);
    }
  }
  communicator.meet(context);
  FilterEmbeddings out;
  const auto all = [&](std::vector<std::vector<at::Tensor>>& versions) {
    std::vector<at::Tensor> list;
    for (auto& parts : versions) list.push_back(gather_shares(at::cat(parts), communicator));
    return at::stack(list);
  };
  out.image = all(images).mul_(presence(set, true));
  out.text = all(texts).mul_(presence(set, false));
  return out;
}

}  // namespace

FilterEmbeddings embed_filter_set(const FilterInputs& inputs, const ClipModel& model,
                                  int64_t copies, const std::string& model_key,
                                  const fs::path& cache, Communicator& communicator,
                                  const Context& context) {
  const FilterSet& set = inputs.set();
  fs::path file;
  if (!cache.empty()) {
    fs::create_directories(cache);
    const std::string key = Sha256().update(model_key).update(inputs.content_key(copies)).hex();
    file = cache / ("guard-" + key.substr(0, 32) + ".safetensors");
  }
  FilterEmbeddings out;
  const std::vector<int64_t> shape = {copies + 1, set.size(), model.config().embedding_dim()};
  // All processes must agree on whether the file is there: the machines may not share their disk.
  std::vector<at::Tensor> have = {at::full({1}, !file.empty() && fs::exists(file) ? 1.0 : 0.0)};
  communicator.meet(context);
  communicator.all_reduce_sum(have);
  if (have[0].item<double>() == static_cast<double>(communicator.world_size()) &&
      load_cached(file, shape, out)) {
    context.info("embeddings: " + file.string());
    return out;
  }
  out = compute_embeddings(inputs, model, copies, communicator, context);
  if (!file.empty() && communicator.is_main())
    nn::save_tensors(file, {{"image", out.image}, {"text", out.text}});
  return out;
}

}  // namespace parapet
