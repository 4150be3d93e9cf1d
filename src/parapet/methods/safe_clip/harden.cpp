#include "parapet/methods/safe_clip/harden.h"

#include <ATen/ATen.h>

#include <cmath>

#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/data/bad_images.h"
#include "parapet/engine/cache/cached_encoder.h"
#include "parapet/engine/encoder/quadruplet_embeddings.h"
#include "parapet/methods/tuned_clip.h"
#include "parapet/nn/precision.h"
#include "parapet/training/distributed.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

QuadrupletStore open_store(const SafeClipOptions& options, const char* split,
                           const ClipModel& model, const ClipAssets& assets, const fs::path& run,
                           int64_t rank, const Context& context, int64_t& skipped) {
  LoadOptions load;
  load.check_images = true;
  load.on_bad_sample = parse_on_bad_sample(options.on_bad_sample);
  const std::string suffix = rank == 0 ? "" : ".rank" + std::to_string(rank);
  load.quarantine = run / (std::string("quarantine-") + split + suffix + ".jsonl");
  load.context = context;
  LoadReport report;
  auto items = load_quadruplets(options.data, split, load, &report);
  skipped += report.skipped;
  if (load.on_bad_sample == OnBadSample::kSkip) {
    DecodeOptions decode;
    decode.scale_for = assets.processor->scale_hint();
    skipped += drop_undecodable(items, load.quarantine, report.skipped, decode, context);
  }
  return QuadrupletStore(std::move(items), assets, model.config().text.max_position_embeddings,
                         options.pixel_cache_mb << 20);
}

double objective_scale(const SafeClipOptions& options, const ClipModel& model) {
  if (options.objective.logit_scale != "auto") return std::stod(options.objective.logit_scale);
  return std::exp(const_cast<ClipModel&>(model).logit_scale().value.item<double>());
}

// What the frozen weights compute for a few samples, seen past the adapters. Compared within one
// process, since another thread count or processor may round differently.
class FrozenProbe {
 public:
  FrozenProbe(ClipModel& model, const QuadrupletStore& store, const ClipAssets& assets,
              const EncoderOptions& options)
      : model_(model), encoder_(wrap_encoder(model, assets, options)) {
    constexpr size_t kSamples = 16;
    texts_ = store.safe_texts();
    images_ = store.safe_images();
    texts_.resize(std::min(texts_.size(), kSamples));
    images_.resize(texts_.size());
    hash_ = nn::parameters_hash(model_.parameters());
    embeds_ = compute();
  }

  const std::string& hash() const { return hash_; }

  // CheckFailed when weights or embeddings are no longer bit-identical.
  void check() const {
    if (nn::parameters_hash(model_.parameters()) != hash_)
      throw CheckFailed("harden: the frozen weights changed during training");
    if (!at::equal(compute(), embeds_))
      throw CheckFailed("harden: the original model's embeddings changed during training");
  }

  // Cached references that are not this model's, e.g. of a file that was edited.
  void check_references(const QuadrupletEmbeddings& reference) const {
    const auto n = static_cast<int64_t>(texts_.size());
    const at::Tensor cached =
        at::cat({reference.safe_text.slice(0, 0, n), reference.safe_image.slice(0, 0, n)});
    const double least = (cached * embeds_).sum(1).min().item<double>();
    if (!(least > 0.98))
      throw DataError("--reference-cache", "its embeddings are not of this model and data",
                      "Delete that folder; it is computed again.");
  }

 private:
  at::Tensor compute() const {
    const nn::LoraOff off;
    return at::cat({encoder_->encode_texts(texts_, {}), encoder_->encode_images(images_, {})});
  }

  ClipModel& model_;
  std::unique_ptr<Encoder> encoder_;
  std::vector<std::string> texts_, images_;
  std::string hash_;
  at::Tensor embeds_;  // texts, then images
};

}  // namespace

SafeClipResult harden_safe_clip(const SafeClipOptions& options, const RunDirectory& run,
                                Communicator& communicator, const Context& context) {
  const nn::Precision precision = nn::resolve_precision(options.dtype, options.device, context);
  const bool lora = options.harden.mode == "lora";
  // Weights that train need float32 masters.
  const at::ScalarType weights = lora ? precision.weights : at::kFloat;
  ClipModel model = ClipModel::load(options.model, at::Device(options.device), weights);
  if (model.config().kind != ClipKind::kFull)
    throw DataError(options.model, "holds one tower only", "Hardening needs a full CLIPModel.");
  model.set_compute(precision.compute);
  const ClipAssets assets = load_clip_assets(options.model, model.config());

  SafeClipResult result;
  const QuadrupletStore train_store = open_store(options, "train", model, assets, run.path(),
                                                 communicator.rank(), context, result.skipped);
  require_samples(static_cast<size_t>(train_store.size()), options.data, "quadruplets.jsonl",
                  "train");
  const QuadrupletStore val_store = open_store(options, "val", model, assets, run.path(),
                                               communicator.rank(), context, result.skipped);
  if (result.skipped > 0)
    context.warn(std::to_string(result.skipped) +
                 " bad samples left out, see quarantine-*.jsonl in " + run.path().string());
  result.train_quadruplets = train_store.size();

  EncoderOptions encoder_options;
  encoder_options.device = options.device;
  encoder_options.precision = options.dtype;
  std::string key = encoder_key(options.model, encoder_options);
  if (weights != precision.weights) key += std::string("/") + c10::toString(weights);
  const auto original =
      cached_encoder(wrap_encoder(model, assets, encoder_options), key, options.reference_cache);
  // One process computes the references; the others read its file.
  if (!communicator.is_main() && !options.reference_cache.empty()) communicator.barrier();
  const auto train_reference = embed_quadruplets(*original, quadruplet_columns(train_store.items()),
                                                 "original model", context);
  const auto val_reference =
      val_store.size() > 0 ? embed_quadruplets(*original, quadruplet_columns(val_store.items()),
                                               "original model", context)
                           : QuadrupletEmbeddings{};
  if (communicator.is_main() && !options.reference_cache.empty()) communicator.barrier();

  const double scale = objective_scale(options, model);
  if (lora) nn::add_lora(model.linears(), options.lora, static_cast<uint64_t>(options.seed));
  const FrozenProbe probe(model, train_store, assets, encoder_options);
  probe.check_references(train_reference);
  if (lora) result.base_hash = probe.hash();
  // Torch's own generators (adapter dropout) start from the clock otherwise.
  at::manual_seed(Random::named(static_cast<uint64_t>(options.seed),
                                "harden.torch." + std::to_string(communicator.rank()))
                      .next());
  TrainerOptions trainer = options.trainer;
  if (options.epochs > 0) {
    const double per_step =
        static_cast<double>(options.harden.batch * trainer.accumulate * communicator.world_size());
    trainer.max_steps = std::max<int64_t>(
        1, std::llround(options.epochs * static_cast<double>(train_store.size()) / per_step));
  }
  {
    HardenTask task(model, options.harden, options.objective, train_store, train_reference,
                    val_store, val_reference, scale, static_cast<uint64_t>(options.seed),
                    communicator.rank(), communicator.world_size());
    model.set_training(true);
    result.training = train(task, trainer, run.path(), communicator, context);
    if (trainer.patience > 0 && result.training.best_step >= 0) load_best(task, run.path());
    model.set_training(false);
  }
  if (lora) probe.check();
  save_tuned_clip(model, lora ? &options.lora : nullptr, options.model, run, communicator);
  return result;
}

SafeClipOptions::SafeClipOptions() {
  lora.r = 16;
  lora.alpha = 1;
  lora.dropout = 0.1;
  lora.targets = {"k_proj", "v_proj", "out_proj", "fc1", "fc2", "patch_embedding"};
  trainer.optimizer = "adam";
  trainer.lr = 1e-3;
  trainer.beta2 = 0.999;
  trainer.schedule = "constant";
  trainer.patience = 5;
  trainer.validate_every = 200;
}

void SafeClipOptions::visit(OptionList& list) {
  list.require("model", model, "Hugging Face CLIP folder to harden");
  list.require("data", data, "data set directory with quadruplets.jsonl");
  list.add("on-bad-sample", on_bad_sample, "stop, or skip (quarantine with reasons, go on without)",
           {"stop", "skip"});
  list.add("reference-cache", reference_cache,
           "where the original model's embeddings are kept, by content hash; empty = nowhere");
  list.add("pixel-cache-mb", pixel_cache_mb, "memory for decoded pixels, MiB");
  list.add("epochs", epochs, "> 0 sets max-steps from the size of the data");
  harden.visit(list);
  objective.visit(list);
  trainer.visit(list);
  lora.visit(list);
}

void SafeClipOptions::validate(Problems& problems) const {
  harden.validate(problems);
  objective.validate(problems);
  trainer.validate(problems);
  if (harden.mode == "lora") lora.validate(problems);
  problems.require(pixel_cache_mb >= 0 && pixel_cache_mb <= 1 << 20, "--pixel-cache-mb",
                   "must be in 0..1048576");
  problems.require(epochs >= 0 && epochs <= 1e6, "--epochs", "must be in 0..1000000");
}

}  // namespace parapet
