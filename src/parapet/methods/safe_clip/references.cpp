#include "parapet/methods/safe_clip/references.h"

#include <ATen/ATen.h>

#include "parapet/core/error.h"
#include "parapet/data/sources/compose.h"
#include "parapet/data/sources/order.h"
#include "parapet/data/sources/prefetch.h"
#include "parapet/nn/contrastive.h"
#include "parapet/nn/lora.h"
#include "parapet/nn/lora_off.h"
#include "parapet/nn/staging.h"
#include "parapet/training/sharding.h"

namespace parapet {
namespace {

constexpr int64_t kChunk = 256;

// All four parts changed by `fn`, those that are there.
template <class Fn>
QuadrupletEmbeddings each(const QuadrupletEmbeddings& x, const Fn& fn) {
  const auto change = [&](const at::Tensor& part) { return part.defined() ? fn(part) : part; };
  return {change(x.safe_text), change(x.unsafe_text), change(x.safe_image), change(x.unsafe_image)};
}

class TableReferences final : public References {
 public:
  explicit TableReferences(QuadrupletEmbeddings table) : table_(std::move(table)) {}
  QuadrupletEmbeddings rows(const QuadrupletBatch& batch) const override {
    const at::Tensor rows = at::tensor(at::ArrayRef<int64_t>(batch.rows), at::kLong);
    return each(table_, [&](const at::Tensor& x) { return x.index_select(0, rows); });
  }
  QuadrupletEmbeddings compute(const QuadrupletTensors&) const override {
    throw Error(ErrorKind::kInternal, "references: a table computes nothing");
  }
  const QuadrupletEmbeddings* table() const override { return &table_; }

 private:
  QuadrupletEmbeddings table_;
};

class LiveReferences final : public References {
 public:
  explicit LiveReferences(const ClipModel& original) : original_(original) {}
  QuadrupletEmbeddings rows(const QuadrupletBatch&) const override { return {}; }
  QuadrupletEmbeddings compute(const QuadrupletTensors& input) const override {
    const at::NoGradGuard no_grad;
    const nn::LoraOff off;
    return embed_batch(original_, input);
  }

 private:
  const ClipModel& original_;
};

class PixelEncoder final : public Encoder {
 public:
  PixelEncoder(std::unique_ptr<Encoder> inner, PixelCache& pixels)
      : inner_(std::move(inner)), pixels_(pixels) {}

  int64_t dim() const override { return inner_->dim(); }
  double logit_scale() const override { return inner_->logit_scale(); }
  std::string identity() const override { return inner_->identity(); }
  at::Tensor encode_texts(const std::vector<std::string>& texts, const Context& context,
                          EncodeStats* stats) override {
    return inner_->encode_texts(texts, context, stats);
  }
  at::Tensor encode_images(std::span<const Image> images, const Context& context,
                           EncodeStats* stats) override {
    return inner_->encode_images(images, context, stats);
  }

  // A chunk is decoded while the one before is encoded.
  at::Tensor encode_images(const std::vector<std::string>& locations, const Context& context,
                           EncodeStats* stats) override {
    const auto count = static_cast<int64_t>(locations.size());
    auto decoded = prefetch(
        map_members<int64_t, Image>(batch(indices(count), kChunk), [&](const int64_t& i) -> Image {
          return *pixels_.get(locations[static_cast<size_t>(i)]);
        }));
    Progress progress(context, "embedding", count, "images");
    Context quiet = context;
    quiet.progress = nullptr;
    std::vector<at::Tensor> parts = {at::empty({0, dim()}, at::kFloat)};
    int64_t done = 0;
    EncodeStats total;
    for (std::vector<Image> images; decoded->next(images);) {
      if (context.cancelled()) throw Cancelled("stopped while embedding images");
      EncodeStats part;
      parts.push_back(inner_->encode_images(images, quiet, &part));
      total.items += part.items;
      total.seconds += part.seconds;
      total.decode_seconds += part.decode_seconds;
      progress.update(done += static_cast<int64_t>(images.size()));
    }
    if (stats != nullptr) *stats = total;
    return at::cat(parts);
  }

 private:
  std::unique_ptr<Encoder> inner_;
  PixelCache& pixels_;
};

}  // namespace

QuadrupletTensors::QuadrupletTensors(const QuadrupletBatch& batch) {
  if (batch.ids.count > 0)
    ids = at::tensor(batch.ids.values, at::kLong).view({batch.ids.count, batch.ids.width});
  const PixelRows& rows = batch.pixels;
  if (rows.count > 0)
    pixels = at::from_blob(
        rows.values.get(), {rows.count, 3, rows.height, rows.width}, [kept = rows.values](void*) {},
        at::kFloat);
}

QuadrupletEmbeddings embed_batch(const ClipModel& model, const QuadrupletTensors& input) {
  QuadrupletEmbeddings out;
  if (input.ids.defined()) {
    const auto texts = nn::normalise_rows(model.encode_text(input.ids)).chunk(2);
    out.safe_text = texts[0];
    out.unsafe_text = texts[1];
  }
  if (input.pixels.defined()) {
    const auto images = nn::normalise_rows(model.encode_image(input.pixels)).chunk(2);
    out.safe_image = images[0];
    out.unsafe_image = images[1];
  }
  return out;
}

std::unique_ptr<References> table_references(QuadrupletEmbeddings table) {
  return std::make_unique<TableReferences>(std::move(table));
}

std::unique_ptr<References> live_references(const ClipModel& original) {
  return std::make_unique<LiveReferences>(original);
}

std::unique_ptr<Encoder> with_pixels(std::unique_ptr<Encoder> inner, PixelCache& pixels) {
  return std::make_unique<PixelEncoder>(std::move(inner), pixels);
}

QuadrupletEmbeddings embed_references(Encoder& original, const std::vector<Quadruplet>& items,
                                      Communicator& communicator, const Context& context) {
  const RowRange own = own_share(static_cast<int64_t>(items.size()), kChunk, communicator);
  const std::vector<Quadruplet> share(items.begin() + own.begin, items.begin() + own.end);
  const auto part =
      embed_quadruplets(original, quadruplet_columns(share), "original model", context);
  // Other processes may take long: they may have to compute what was in this one's cache.
  communicator.meet(context);
  return each(part, [&](const at::Tensor& x) { return gather_shares(x, communicator); });
}

FrozenProbe::FrozenProbe(ClipModel& model, QuadrupletBatch batch)
    : model_(model),
      batch_(std::move(batch)),
      hash_(nn::parameters_hash(model)),
      embeds_(compute()) {}

QuadrupletEmbeddings FrozenProbe::compute() const {
  const at::NoGradGuard no_grad;
  const nn::LoraOff off;
  const at::Device device = model_.device();
  QuadrupletTensors input(batch_);
  nn::Staging(device).send({&input.ids, &input.pixels}).wait();
  return each(embed_batch(model_, input), [](const at::Tensor& x) { return x.cpu(); });
}

void FrozenProbe::check() const {
  if (nn::parameters_hash(model_) != hash_)
    throw CheckFailed("harden: the frozen weights changed during training");
  const auto now = compute();
  const bool exact = model_.device().is_cpu();
  const double least = 1 - (model_.compute() == at::kFloat ? 1e-5 : 1e-3);
  const auto equal = [&](const at::Tensor& x, const at::Tensor& y) {
    if (x.defined() != y.defined()) return false;
    if (!x.defined() || at::equal(x, y)) return true;
    return !exact && nn::row_cosine(x, y).min().item<double>() >= least;
  };
  if (!equal(now.safe_text, embeds_.safe_text) || !equal(now.unsafe_text, embeds_.unsafe_text) ||
      !equal(now.safe_image, embeds_.safe_image) || !equal(now.unsafe_image, embeds_.unsafe_image))
    throw CheckFailed("harden: the original model's embeddings changed during training");
}

void FrozenProbe::check_references(const QuadrupletEmbeddings& table) const {
  const auto differs = [](const at::Tensor& own, const at::Tensor& cached) {
    if (!own.defined()) return false;
    return !((own * cached.slice(0, 0, own.size(0))).sum(1).min().item<double>() > 0.98);
  };
  if (differs(embeds_.safe_text, table.safe_text) || differs(embeds_.safe_image, table.safe_image))
    throw DataError("--reference-cache", "its embeddings are not of this model and data",
                    "Delete that folder; it is computed again.");
}

}  // namespace parapet
