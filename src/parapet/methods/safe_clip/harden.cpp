#include "parapet/methods/safe_clip/harden.h"

#include <ATen/ATen.h>

#include <cmath>
#include <optional>

#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/data/bad_images.h"
#include "parapet/data/quadruplets.h"
#include "parapet/data/shard_stream.h"
#include "parapet/engine/cache/cached_encoder.h"
#include "parapet/engine/encoder/model_stamp.h"
#include "parapet/engine/encoder/quadruplet_embeddings.h"
#include "parapet/methods/safe_clip/references.h"
#include "parapet/methods/tuned.h"
#include "parapet/models/registry.h"
#include "parapet/nn/precision.h"
#include "parapet/training/distributed.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

// What hardening reads, with its references.
struct Prepared {
  std::unique_ptr<QuadrupletSet> train;
  std::unique_ptr<QuadrupletList> val;
  std::unique_ptr<References> train_references, val_references;
  QuadrupletBatch probe;    // a few samples of the training data
  int64_t quadruplets = 0;  // of a directory's training split
};

struct Environment {
  const SafeClipOptions& options;
  ClipModel& model;
  const ClipAssets& assets;
  const ClipModel* original = nullptr;  // where `model` is trained whole and data are streamed
  std::string weights;                  // added to the references' key
  const ModelStamp& stamp;              // from before the model was loaded
  BadSamples bad;
  Communicator& communicator;
  const Context& context;
};

constexpr int64_t kProbeSamples = 16;

Prepared prepare_directory(const Environment& env, const QuadrupletPipeline& pipeline,
                           SampleCounts& counts) {
  const SafeClipOptions& options = env.options;
  auto train = std::make_unique<DirectoryQuadruplets>(
      load_good_quadruplets(options.data, "train", *env.assets.processor, env.bad, counts),
      pipeline);
  require_samples(static_cast<size_t>(train->size()), options.data, "quadruplets.jsonl", "train");
  auto val = std::make_unique<DirectoryQuadruplets>(
      load_good_quadruplets(options.data, "val", *env.assets.processor, env.bad, counts), pipeline);

  EncoderOptions encoder;
  encoder.device = env.model.logit_scale().value.device().str();
  encoder.precision = options.dtype;
  const std::string key = encoder_key(options.model, encoder) + env.weights;
  env.stamp.require_unchanged();  // the key is that of the weights that were loaded
  const auto original =
      cached_encoder(with_pixels(wrap_encoder(env.model, env.assets, encoder), *pipeline.pixels),
                     key, options.reference_cache);
  const auto references = [&](const DirectoryQuadruplets& set) {
    return table_references(
        embed_references(*original, set.items(), env.communicator, env.context));
  };
  Prepared out;
  out.train_references = references(*train);
  if (val->size() > 0) out.val_references = references(*val);
  out.quadruplets = train->size();
  // The probe looks at both towers, whichever is trained.
  QuadrupletPipeline whole = pipeline;
  whole.with_texts = whole.with_images = true;
  const int64_t count = std::min(kProbeSamples, train->size());
  const std::vector<Quadruplet> first(train->items().begin(), train->items().begin() + count);
  out.probe = DirectoryQuadruplets(first, whole).load(0, count);
  out.train = std::move(train);
  out.val = std::move(val);
  return out;
}

Prepared prepare_shards(const Environment& env, const QuadrupletPipeline& pipeline,
                        SampleCounts& counts) {
  const SafeClipOptions& options = env.options;
  Prepared out;
  env.stamp.require_unchanged();  // the original is of the same files
  const auto shards = list_shards(options.data);
  out.train = shard_quadruplets(shards, options.shuffle_buffer, pipeline, env.bad, counts);
  const auto val_shards =
      options.val_shards.empty() ? std::vector<std::string>{} : list_shards(options.val_shards);
  out.val = first_quadruplets(val_shards, options.validation_samples, pipeline, env.bad, counts);
  const ClipModel& original = env.original != nullptr ? *env.original : env.model;
  out.train_references = live_references(original);
  out.val_references = live_references(original);
  SampleCounts uncounted;
  const auto probe = first_quadruplets(shards, kProbeSamples, pipeline, env.bad, uncounted);
  out.probe = probe->load(0, probe->size());
  return out;
}

double objective_scale(const SafeClipOptions& options, const ClipModel& model) {
  if (options.objective.logit_scale != "auto") return std::stod(options.objective.logit_scale);
  return std::exp(model.logit_scale().value.item<double>());
}

// A rank's own file beside that of rank 0.
BadSamples bad_samples(const SafeClipOptions& options, const fs::path& run, int64_t rank,
                       const Context& context) {
  const std::string suffix = rank == 0 ? "" : ".rank" + std::to_string(rank);
  return {parse_on_bad_sample(options.on_bad_sample), (run / ("quarantine" + suffix)).string(),
          context};
}

TrainerOptions scheduled(const SafeClipOptions& options, int64_t quadruplets, int64_t ranks) {
  TrainerOptions trainer = options.trainer;
  if (options.epochs <= 0) return trainer;
  const double per_step = static_cast<double>(options.harden.batch * trainer.accumulate * ranks);
  trainer.max_steps = std::max<int64_t>(
      1, std::llround(options.epochs * static_cast<double>(quadruplets) / per_step));
  return trainer;
}

}  // namespace

SafeClipResult harden_safe_clip(const SafeClipOptions& options, const RunDirectory& run,
                                Communicator& communicator, const Context& context) {
  const at::Device device = rank_device(options.device, communicator);
  const nn::Precision precision = nn::resolve_precision(options.dtype, options.device, context);
  const bool lora = options.harden.mode == "lora", streamed = names_shards(options.data);
  const auto seed = static_cast<uint64_t>(options.seed);
  // Weights that train need float32 masters.
  const at::ScalarType weights = lora ? precision.weights : at::kFloat;
  require_family(options.model, "clip", "hardening");
  const ModelStamp stamp({options.model});
  ClipModel model = ClipModel::load(options.model, device, weights);
  if (model.config().kind != ClipKind::kFull)
    throw DataError(options.model, "holds one tower only", "Hardening needs a full CLIPModel.");
  model.set_compute(precision.compute);
  std::optional<ClipModel> original;
  if (streamed && !lora) {
    original.emplace(ClipModel::load(options.model, device, precision.weights));
    original->set_compute(precision.compute);
  }
  const ClipAssets assets = load_clip_assets(options.model, model.config());

  QuadrupletPipeline pipeline;
  pipeline.tokenizer = assets.tokenizer;
  pipeline.pixels = std::make_shared<PixelCache>(*assets.processor, options.pixel_cache_mb << 20);
  pipeline.max_tokens = model.config().text.max_position_embeddings;
  pipeline.seed = seed;
  // References that are computed from each batch need both towers.
  pipeline.with_texts = streamed || options.harden.towers != "image";
  pipeline.with_images = streamed || options.harden.towers != "text";
  const Environment env = {
      options,
      model,
      assets,
      original ? &*original : nullptr,
      weights == precision.weights ? "" : std::string("/") + c10::toString(weights),
      stamp,
      bad_samples(options, run.path(), communicator.rank(), context),
      communicator,
      context};
  SampleCounts counts;
  const Prepared data =
      streamed ? prepare_shards(env, pipeline, counts) : prepare_directory(env, pipeline, counts);
  const double scale = objective_scale(options, model);
  if (lora) nn::add_lora(model, options.lora, seed);
  model.set_recompute(options.trainer.gradient_checkpointing);
  const FrozenProbe probe(model, data.probe);
  if (const auto* table = data.train_references->table()) probe.check_references(*table);
  SafeClipResult result;
  if (lora) result.base_hash = probe.hash();
  // Torch's own generators (adapter dropout) start from the clock otherwise.
  at::manual_seed(
      Random::named(seed, "harden.torch." + std::to_string(communicator.rank())).next());
  const TrainerOptions trainer = scheduled(options, data.quadruplets, communicator.world_size());
  {
    HardenTask task(model, options.harden, options.objective,
                    {data.train.get(), data.train_references.get(), data.val.get(),
                     data.val_references.get(), data.probe.ids.width},
                    scale, seed);
    model.set_training(true);
    result.training = train(task, trainer, run.path(), communicator, context);
    if (trainer.patience > 0 && result.training.best_step >= 0) load_best(task, run.path());
    model.set_training(false);
  }
  if (lora) probe.check();
  result.train_quadruplets = streamed ? counts.loaded.load() : data.quadruplets;
  result.skipped = counts.skipped;
  if (result.skipped > 0)
    context.warn(std::to_string(result.skipped) +
                 " bad samples left out, see quarantine-*.jsonl in " + run.path().string());
  save_tuned(model, lora ? &options.lora : nullptr, options.model, run, communicator);
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
  list.require("data", data,
               "data set directory with quadruplets.jsonl, or tar shards of quadruplets (folder, "
               "file, x-{000..010}.tar), which are streamed");
  list.add("val-shards", val_shards, "shards to validate on where --data is shards");
  list.add("validation-samples", validation_samples, "quadruplets of --val-shards used");
  list.add("shuffle-buffer", shuffle_buffer, "samples of shards shuffled against each other");
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
  problems.require(val_shards.empty() || names_shards(data), "--val-shards",
                   "goes with shards as --data; a data set directory has its split \"val\"");
  problems.require(validation_samples >= 2 && validation_samples <= 1 << 20, "--validation-samples",
                   "must be in 2..1048576");
  problems.require(shuffle_buffer >= 1 && shuffle_buffer <= 10'000'000, "--shuffle-buffer",
                   "must be in 1..10000000");
  problems.require(epochs == 0 || !names_shards(data), "--epochs",
                   "needs a data set directory: how many samples shards hold is not known; give "
                   "--max-steps");
  problems.require(epochs >= 0 && epochs <= 1e6, "--epochs", "must be in 0..1000000");
}

}  // namespace parapet
