#include "parapet/methods/guard_heads/train_guard.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <initializer_list>

#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/data/sample_keys.h"
#include "parapet/engine/cache/cached_encoder.h"
#include "parapet/engine/encoder/model_stamp.h"
#include "parapet/engine/torch/torch_encoder.h"
#include "parapet/methods/guard_heads/filter_task.h"
#include "parapet/models/registry.h"
#include "parapet/nn/precision.h"
#include "parapet/training/distributed.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

struct Splits {
  std::vector<LabelSample> train, val, calibration;
  std::vector<std::string> seen_keys, calibration_keys;  // content of train and val, of the other
  std::vector<std::string> image_keys;                   // of the pictures in all three
};

Splits load_splits(const TrainGuardOptions& options, const fs::path& run, int64_t rank,
                   const Context& context) {
  LoadOptions load;
  load.check_images = true;
  load.on_bad_sample = parse_on_bad_sample(options.on_bad_sample);
  load.context = context;
  const std::string suffix = rank == 0 ? "" : ".rank" + std::to_string(rank);
  const auto read = [&](const char* split) {
    load.quarantine = run / (std::string("quarantine-") + split + suffix + ".jsonl");
    auto samples = load_labels(options.data, split, load);
    require_samples(samples.size(), options.data, "labels.jsonl", split);
    return samples;
  };
  Splits splits;
  splits.train = read("train");
  // By content: the halves do not depend on the order of the file, and equal samples stay together.
  auto both = read("val");
  const auto keys = sample_keys(both, &splits.image_keys);
  splits.seen_keys = sample_keys(splits.train, &splits.image_keys);
  for (size_t i = 0; i < both.size(); ++i) {
    const bool validates = stable_hash(keys[i]) % 2 == 0;
    (validates ? splits.val : splits.calibration).push_back(std::move(both[i]));
    (validates ? splits.seen_keys : splits.calibration_keys).push_back(keys[i]);
  }
  if (splits.calibration.empty())
    throw DataError(options.data + "/labels.jsonl", "split 'val' leaves no calibration samples",
                    "Half of it, by content, calibrates the heads: give it at least 100 samples.");
  require_disjoint(splits.seen_keys, splits.calibration_keys, options.data + "/labels.jsonl");
  return splits;
}

// One split, ready to train on or to measure.
struct Part {
  FilterSet set;
  FilterInputs inputs;
  FilterEmbeddings embeds;  // filled by embed_parts
  int64_t copies;           // changed versions of each sample
  Part(std::vector<LabelSample> samples, const std::vector<std::string>& categories,
       const TrainGuardOptions& options, const ClipAssets& assets, const ClipModel& model,
       bool training)
      : set(make_filter_set(std::move(samples), categories, options.filter, training)),
        inputs(set, assets, model.config().text.max_position_embeddings, options.filter.augment,
               static_cast<uint64_t>(options.seed)),
        copies(training && options.filter.mode == "heads" ? options.filter.augment_copies : 0) {}
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;
};

void embed_parts(const TrainGuardOptions& options, std::initializer_list<Part*> parts,
                 const ClipModel& model, const std::string& key, Communicator& communicator,
                 const Context& context) {
  std::unique_ptr<EmbeddingStore> store;
  if (!options.embedding_cache.empty())
    store = open_embedding_store(options.embedding_cache, context);
  for (Part* part : parts)
    part->embeds = embed_filter_set(part->inputs, model, part->copies, key, store.get(),
                                    communicator, context);
}

FilterTaskInputs task_inputs(const TrainGuardOptions& options, const Part& train_part,
                             const Part& val, ClipModel& model, const ClipAssets& assets,
                             Communicator& communicator) {
  FilterTaskInputs inputs;
  inputs.train = &train_part.inputs;
  inputs.train_embeds = &train_part.embeds;
  inputs.val = &val.inputs;
  inputs.val_embeds = &val.embeds;
  inputs.model = &model;
  inputs.assets = &assets;
  const int64_t step_samples =
      options.filter.batch * communicator.world_size() * options.trainer.accumulate;
  inputs.steps_per_epoch = std::max<int64_t>(1, train_part.set.size() / step_samples);
  inputs.base_lr = options.trainer.lr;
  inputs.seed = static_cast<uint64_t>(options.seed);
  return inputs;
}

// One entry per output, of the samples that are labelled for it.
std::vector<CalibrationScores> calibration_scores(const HeadLogits& logits, const FilterSet& set) {
  std::vector<CalibrationScores> out;
  const auto collect = [&](const std::string& name, const at::Tensor& values,
                           const at::Tensor& truth) {
    CalibrationScores scores{name, {}, {}};
    const at::Tensor v = values.contiguous(), t = truth.contiguous();
    for (int64_t i = 0; i < set.size(); ++i) {
      const float label = t.const_data_ptr<float>()[i];
      if (label < 0) continue;
      scores.logits.push_back(v.const_data_ptr<float>()[i]);
      scores.labels.push_back(label > 0 ? 1 : 0);
    }
    out.push_back(std::move(scores));
  };
  for (const HeadInput input : kHeadInputs) {
    const auto side = static_cast<size_t>(input);
    const auto width = static_cast<int64_t>(set.categories.size()) + 1;
    for (int64_t c = 0; c < width; ++c) {
      const std::string category =
          c + 1 == width ? std::string("harm") : set.categories[static_cast<size_t>(c)];
      collect(std::string(head_input_name(input)) + "." + category, logits.harm[side].select(1, c),
              set.targets.harm[side].select(1, c));
    }
  }
  const auto last = static_cast<int64_t>(set.categories.size());
  collect("implicit", logits.implicit_pair.select(1, last),
          set.targets.implicit_pair.select(1, last));
  collect("contradiction", logits.contradiction, set.targets.contradiction);
  return out;
}

std::vector<double> benign_cosines(const at::Tensor& cosines, const FilterSet& set) {
  std::vector<double> out;
  const at::Tensor harm = set.targets.harm[2].select(1, set.targets.harm[2].size(1) - 1);
  for (int64_t i = 0; i < set.size(); ++i)
    if (harm[i].item<float>() == 0 && set.targets.contradiction[i].item<float>() == 0)
      out.push_back(cosines[i].item<double>());
  return out;
}

// What the data make of the options: the balance, and terms that find nothing to work on.
void report_data(const FilterSet& set, const FilterOptions& options, const Context& context) {
  if (options.bias.balance != "none")
    for (const auto& line : balance_table(set, options.bias)) context.info("balance: " + line);
  const at::Tensor matches = set.targets.contradiction.eq(0);
  const std::string missing = "labels.jsonl names no ";
  const std::string remedy = " (attribute \"consistent\" = \"yes\")";
  if (!matches.any().item<bool>())
    context.warn(missing + "pair that matches" + remedy +
                 ": contradictions are not learnt, their score is the cosine's");
  const at::Tensor benign = set.targets.harm[2].select(1, set.targets.harm[2].size(1) - 1).eq(0);
  if (options.mode == "finetune" && options.unfreeze.contrastive > 0 &&
      !(benign * matches).any().item<bool>())
    context.warn(missing + "benign pair that matches" + remedy +
                 ": --contrastive-weight has nothing to work on");
}

// The trainer's options for this data: epochs become steps.
TrainerOptions scheduled(const TrainGuardOptions& options, int64_t steps_per_epoch) {
  TrainerOptions trainer = options.trainer;
  if (trainer.max_steps == 0) trainer.max_steps = options.filter.epochs * steps_per_epoch;
  trainer.warmup_steps = std::min(trainer.warmup_steps, trainer.max_steps / 4);
  return trainer;
}

}  // namespace

TrainedGuard train_guard(const TrainGuardOptions& options, const RunDirectory& run,
                         Communicator& communicator, const Context& context) {
  options.filter.warn(context);
  const at::Device device = rank_device(options.device, communicator);
  const bool finetune = options.filter.mode == "finetune";
  const auto seed = static_cast<uint64_t>(options.seed);
  const nn::Precision precision = nn::resolve_precision(options.dtype, options.device);
  if (!precision.note.empty()) context.info(precision.note);
  require_family(options.model, "clip", "training guard heads");
  const ModelStamp stamp({options.model});
  // Weights that train need float32 masters.
  ClipModel model =
      ClipModel::load(options.model, device, finetune ? at::kFloat : precision.weights);
  if (model.config().kind != ClipKind::kFull)
    throw DataError(options.model, "holds one tower only", "Guard heads need a full CLIPModel.");
  model.set_compute(precision.compute);
  model.set_recompute(options.trainer.gradient_checkpointing);
  const ClipAssets assets = load_clip_assets(options.model, model.config());
  at::manual_seed(Random::named(seed, "guard.torch." + std::to_string(communicator.rank())).next());

  Splits splits = load_splits(options, run.path(), communicator.rank(), context);
  const auto categories = label_categories(splits.train);
  Part train_part(std::move(splits.train), categories, options, assets, model, true);
  Part val(std::move(splits.val), categories, options, assets, model, false);
  Part calibration(std::move(splits.calibration), categories, options, assets, model, false);
  report_data(train_part.set, options.filter, context);
  const std::string model_key = model_content_key(options.model);
  stamp.require_unchanged();  // the key is that of the weights that were loaded
  EncoderOptions encoder;
  encoder.device = device.str();
  encoder.precision = options.dtype;
  std::string key = encoder_key(options.model, model_key, encoder);
  if (finetune && precision.weights != at::kFloat)
    key += "/" + std::string(c10::toString(at::kFloat));
  embed_parts(options, {&train_part, &val, &calibration}, model, key, communicator, context);

  TrainedGuard result;
  result.net = HeadNet::random(model.config().embedding_dim(), options.filter.hidden,
                               static_cast<int64_t>(categories.size()), seed)
                   .on(device);
  const FilterTaskInputs inputs =
      task_inputs(options, train_part, val, model, assets, communicator);
  FilterTask task(result.net, options.filter, inputs);
  const TrainerOptions trainer = scheduled(options, inputs.steps_per_epoch);
  result.training = train(task, trainer, run.path(), communicator, context);
  if (trainer.patience > 0 && result.training.best_step >= 0) load_best(task, run.path());

  at::Tensor cosines;
  const HeadLogits logits =
      task.logits_of(calibration.inputs, calibration.embeds, communicator, &cosines);
  calibrate_heads(result.info, calibration_scores(logits, calibration.set),
                  benign_cosines(cosines, calibration.set), options.calibration, context);
  result.info.categories = categories;
  result.info.embedding = finetune ? "tuned" : options.embedding;
  result.info.model_hash = model_key;
  if (finetune) {
    if (communicator.is_main()) model.save(run.model(), options.model);
    communicator.meet(context);  // writing a large model takes longer than a collective may
    result.info.model_hash = model_content_key(run.model());
    result.tuned_trunk = true;
  }
  result.train_keys = std::move(splits.seen_keys);
  result.calibration_keys = std::move(splits.calibration_keys);
  result.image_keys = std::move(splits.image_keys);
  result.train_samples = train_part.set.size();
  return result;
}

TrainGuardOptions::TrainGuardOptions() {
  trainer.max_steps = 0;  // from the epochs
  trainer.lr = 1e-3;
  trainer.weight_decay = 0.05;
  trainer.warmup_steps = 50;
}

void TrainGuardOptions::visit(OptionList& list) {
  list.require("model", model, "Hugging Face CLIP folder whose embeddings the heads read");
  list.require("data", data, "data set directory with labels.jsonl (splits train and val)");
  list.add("embedding", embedding, "what the model is: original, or a hardened one",
           {"original", "hardened"});
  list.add("on-bad-sample", on_bad_sample, "stop, or skip (quarantine with reasons, go on without)",
           {"stop", "skip"});
  list.add("embedding-cache", embedding_cache,
           "where embeddings are kept, by content; empty = nowhere");
  filter.visit(list);
  trainer.visit(list);
  calibration.visit(list);
}

void TrainGuardOptions::validate(Problems& problems) const {
  filter.validate(problems);
  TrainerOptions checked = trainer;
  if (checked.max_steps == 0) checked.max_steps = 1;  // 0 = from the epochs
  checked.validate(problems);
  calibration.validate(problems);
}

}  // namespace parapet
