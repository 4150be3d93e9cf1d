#include "parapet/methods/contrastive/pretrain.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/random.h"
#include "parapet/data/shard_stream.h"
#include "parapet/data/world_captions.h"
#include "parapet/engine/torch/torch_encoder.h"
#include "parapet/methods/tuned.h"
#include "parapet/models/registry.h"
#include "parapet/nn/precision.h"
#include "parapet/text/clip_vocabulary.h"
#include "parapet/training/distributed.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

// Sample indices of the stages of world training do not overlap.
constexpr int64_t kScenesStart = int64_t{1} << 40;
constexpr int64_t kCaptionsStart = int64_t{1} << 41;

struct Prepared {
  ClipModel model;
  ClipAssets assets;
};

// A model with its tokenizer and preprocessing; from scratch these are written to run/model first,
// so that the folder is complete whatever happens later.
Prepared prepare(const TrainClipOptions& options, const RunDirectory& run, at::Device device,
                 bool main) {
  if (!options.model.empty()) {
    require_family(options.model, "clip", "contrastive training");
    ClipModel model = ClipModel::load(options.model, device);
    ClipAssets assets = load_clip_assets(options.model, model.config());
    return {std::move(model), std::move(assets)};
  }
  ClipConfig config = tiny_clip_config();
  if (options.arch != "tiny") {
    const fs::path file = options.arch;
    config = ClipConfig::load(fs::is_directory(file) ? file : file.parent_path());
  }
  if (config.kind != ClipKind::kFull)
    throw UsageError("--arch: training from scratch needs a full CLIP configuration");
  if (main) {
    fs::create_directories(run.model());
    write_clip_tokenizer(options.vocabulary, run.model(), config.text.max_position_embeddings);
    save_json(run.model() / "preprocessor_config.json",
              ImageProcessor::clip_default(config.vision.image_size).to_json());
  }
  ClipAssets assets;
  assets.tokenizer = load_clip_tokenizer(options.vocabulary);
  assets.processor = ImageProcessor::clip_default(config.vision.image_size);
  ClipModel model = ClipModel::random(config, static_cast<uint64_t>(options.seed));
  nn::move_to(model, device);
  return {std::move(model), std::move(assets)};
}

std::shared_ptr<const SampleWorld> make_world(const TrainClipOptions& options, double single,
                                              double unsafe,
                                              const std::shared_ptr<const GlyphAtlas>& atlas) {
  WorldOptions world = options.world;
  world.seed = options.seed;
  if (single >= 0) {
    world.caption_single = single;
    world.caption_unsafe = unsafe;
  }
  return std::make_shared<const SampleWorld>(world, atlas);
}

std::unique_ptr<CaptionSet> open_data(const TrainClipOptions& options,
                                      const CaptionPipeline& pipeline, const RunDirectory& run,
                                      const Communicator& communicator, const Context& context,
                                      SampleCounts& counts) {
  const std::string suffix =
      communicator.is_main() ? "" : ".rank" + std::to_string(communicator.rank());
  const BadSamples bad{parse_on_bad_sample(options.on_bad_sample),
                       (run.path() / ("quarantine" + suffix)).string(), context};
  if (!names_shards(options.data)) return directory_captions(options.data, pipeline, bad, counts);
  return shard_captions(
      list_shards(options.data),
      options.val_shards.empty() ? std::vector<std::string>{} : list_shards(options.val_shards),
      options.shuffle_buffer, pipeline, bad, counts);
}

void warm_up_images(const TrainClipOptions& options, ClipModel& model, const WorldHeads& heads,
                    const CaptionPipeline& pipeline, const std::shared_ptr<const GlyphAtlas>& atlas,
                    const RunDirectory& run, Communicator& communicator, const Context& context) {
  // Mostly single glyphs first, so that each is learnt by itself, then mostly scenes.
  const auto singles = world_captions(make_world(options, .75, .125, atlas), pipeline, 0);
  const auto scenes = world_captions(make_world(options, .25, .375, atlas), pipeline, kScenesStart);
  ImageWarmupTask task(model, heads, *singles, *scenes, options.image_warmup_batch,
                       options.image_warmup_steps, communicator);
  TrainerOptions trainer = options.trainer;
  trainer.max_steps = options.image_warmup_steps;
  trainer.lr = options.image_warmup_lr;
  trainer.final_lr = 0.1;
  trainer.accumulate = 1;
  trainer.patience = 0;
  trainer.validate_every = 0;
  context.info("image tower warm-up, " + std::to_string(trainer.max_steps) + " steps");
  train(task, trainer, run.path() / "warmup", communicator, context);
}

}  // namespace

ClipConfig tiny_clip_config() {
  ClipConfig config;
  config.vision.hidden_size = 384;
  config.vision.intermediate_size = 1536;
  config.vision.num_hidden_layers = 3;
  config.vision.num_attention_heads = 6;
  config.vision.image_size = 64;
  config.vision.patch_size = 16;
  config.text.hidden_size = 192;
  config.text.intermediate_size = 768;
  config.text.num_hidden_layers = 2;
  config.text.num_attention_heads = 3;
  config.projection_dim = config.vision.projection_dim = config.text.projection_dim = 256;
  config.logit_scale_init_value = 2.9957;  // ln 20
  return config;
}

TrainClipResult train_clip(const TrainClipOptions& options, const RunDirectory& run,
                           Communicator& communicator, const Context& context) {
  const at::Device device = rank_device(options.device, communicator);
  Prepared prepared = prepare(options, run, device, communicator.is_main());
  ClipModel& model = prepared.model;
  const nn::Precision precision = nn::resolve_precision(options.dtype, options.device, context);
  model.set_compute(precision.compute);
  CaptionPipeline pipeline;
  pipeline.tokenizer = prepared.assets.tokenizer;
  pipeline.processor = *prepared.assets.processor;
  pipeline.max_tokens = model.config().text.max_position_embeddings;
  pipeline.seed = static_cast<uint64_t>(options.seed);
  const auto seed = static_cast<uint64_t>(options.seed);
  // Torch's own generators (adapter dropout) start from the clock otherwise.
  at::manual_seed(Random::named(seed, "train.torch." + std::to_string(communicator.rank())).next());
  const WorldHeads image_heads =
      WorldHeads::random(model.config().vision.hidden_size, seed, "heads.image").on(device);
  const WorldHeads text_heads =
      WorldHeads::random(model.config().text.hidden_size, seed, "heads.text").on(device);

  SampleCounts counts;
  std::unique_ptr<CaptionSet> source;
  model.set_recompute(options.trainer.gradient_checkpointing);
  if (options.data.empty()) {
    const auto atlas = GlyphAtlas::load({options.glyphs, options.glyph_cache}, context);
    if (options.image_warmup_steps > 0)
      warm_up_images(options, model, image_heads, pipeline, atlas, run, communicator, context);
    source = world_captions(make_world(options, -1, 0, atlas), pipeline, kCaptionsStart);
  } else {
    source = open_data(options, pipeline, run, communicator, context, counts);
  }
  const nn::LoraOptions lora = with_targets(options.lora, model);
  if (options.mode == "lora") nn::add_lora(model, lora, seed);
  ContrastiveTask task(model, options.contrastive, *source, image_heads, text_heads, communicator);
  model.set_training(true);
  TrainClipResult result;
  result.training = train(task, options.trainer, run.path(), communicator, context);
  result.captions = counts.loaded;
  result.skipped = counts.skipped;
  if (result.skipped > 0)
    context.warn(std::to_string(result.skipped) +
                 " bad samples left out, see quarantine-*.jsonl in " + run.path().string());
  model.set_training(false);
  save_tuned(model, options.mode == "lora" ? &lora : nullptr, options.model, run, communicator);
  return result;
}

void TrainClipOptions::visit(OptionList& list) {
  list.add("model", model, "Hugging Face CLIP folder to start from; empty = from scratch");
  list.add("arch", arch, "from scratch: tiny, or a config.json");
  list.add("data", data,
           "data set directory, or tar shards (folder, file, x-{000..010}.tar); empty = the sample "
           "world, "
           "drawn online");
  list.add("val-shards", val_shards, "shards to validate on where --data is shards");
  list.add("shuffle-buffer", shuffle_buffer, "samples of shards shuffled against each other");
  list.add("on-bad-sample", on_bad_sample, "stop, or skip (quarantine with reasons, go on without)",
           {"stop", "skip"});
  list.add("vocabulary", vocabulary,
           "CLIP's bpe_simple_vocab_16e6.txt.gz, for training from scratch");
  list.add("glyphs", glyphs, "folder with the emoji packages of the sample world");
  list.add("glyph-cache", glyph_cache, "where rendered glyphs are kept");
  list.add("mode", mode, "full = all weights, lora = adapters", {"full", "lora"});
  list.add("image-warmup-steps", image_warmup_steps,
           "steps of the image tower alone on the sample world; 0 = none");
  list.add("image-warmup-batch", image_warmup_batch, "images per step of the warm-up");
  list.add("image-warmup-lr", image_warmup_lr, "peak learning rate of the warm-up");
  contrastive.visit(list);
  trainer.visit(list);
  lora.visit(list);
  world.visit(list);
}

void TrainClipOptions::validate(Problems& problems) const {
  contrastive.validate(problems);
  trainer.validate(problems);
  world.validate(problems);
  if (mode == "lora") lora.validate(problems);
  problems.require(mode != "lora" || !model.empty(), "--mode", "lora needs --model");
  problems.require(shuffle_buffer >= 1 && shuffle_buffer <= 10'000'000, "--shuffle-buffer",
                   "must be in 1..10000000");
  problems.require(val_shards.empty() || names_shards(data), "--val-shards",
                   "goes with shards as --data; a data set directory has its split \"val\"");
  problems.require(image_warmup_steps >= 0, "--image-warmup-steps", "must be >= 0");
  problems.require(image_warmup_steps == 0 || data.empty(), "--image-warmup-steps",
                   "works on the sample world only (no --data)");
  problems.require(image_warmup_batch >= 1, "--image-warmup-batch", "must be >= 1");
  problems.require(image_warmup_lr > 0, "--image-warmup-lr", "must be > 0");
}

}  // namespace parapet
