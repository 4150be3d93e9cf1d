#include "parapet/methods/safe_clip/harden_task.h"

#include <ATen/ATen.h>

#include "parapet/core/error.h"
#include "parapet/core/random.h"
#include "parapet/data/sources/compose.h"
#include "parapet/data/sources/order.h"
#include "parapet/data/sources/prefetch.h"
#include "parapet/methods/clip_memory.h"
#include "parapet/methods/safe_clip/validation.h"
#include "parapet/nn/contrastive.h"
#include "parapet/nn/layers.h"
#include "parapet/training/sharding.h"

namespace parapet {
namespace {

// For each row of `queries` the nearest row of `gallery`, in blocks of bounded memory; also its
// cosine.
std::pair<at::Tensor, at::Tensor> nearest(const at::Tensor& queries, const at::Tensor& gallery) {
  constexpr int64_t kBlock = 512;
  std::vector<at::Tensor> values, indices;
  for (int64_t begin = 0; begin < queries.size(0); begin += kBlock) {
    auto [value, index] = at::mm(queries.slice(0, begin, begin + kBlock), gallery.t()).max(1);
    values.push_back(value);
    indices.push_back(index);
  }
  return {at::cat(indices), at::cat(values)};
}

// The rows of all parts and processes; a process may have none.
QuadrupletEmbeddings gather_all(const std::vector<QuadrupletEmbeddings>& parts, int64_t dim,
                                const at::TensorOptions& options, Communicator& communicator) {
  const auto all = [&](at::Tensor QuadrupletEmbeddings::*field) {
    std::vector<at::Tensor> list = {at::empty({0, dim}, options)};
    for (const auto& part : parts) list.push_back(part.*field);
    return gather_shares(at::cat(list), communicator);
  };
  return {all(&QuadrupletEmbeddings::safe_text), all(&QuadrupletEmbeddings::unsafe_text),
          all(&QuadrupletEmbeddings::safe_image), all(&QuadrupletEmbeddings::unsafe_image)};
}

// Share of items with a higher value: 0 for the highest.
at::Tensor descending_rank(const at::Tensor& values) {
  const auto n = values.size(0);
  const at::Tensor order = values.argsort(true, 0, true);
  at::Tensor rank = at::empty({n}, at::kFloat);
  rank.index_copy_(0, order, at::arange(n, at::kFloat) / static_cast<double>(n));
  return rank;
}

}  // namespace

void HardenOptions::visit(OptionList& list) {
  list.add("batch-size", batch, "quadruplets per micro-batch and process");
  list.add("towers", towers, "what is trained", {"both", "text", "image"});
  list.add("mode", mode, "lora = adapters on frozen weights, full = all weights", {"lora", "full"});
  list.add("reference", reference,
           "frozen = the original model; shared = the student itself (an ablation: drifts)",
           {"frozen", "shared"});
  list.add("shield-mix", shield_mix,
           "shield_clip without labels: shares of pairs with a safe image, a safe text, both");
  list.add("validation-chunk", validation_chunk, "rows per InfoNCE in validation");
}

void HardenOptions::validate(Problems& problems) const {
  problems.require(batch >= 2 && batch <= 1 << 16, "--batch-size", "must be in 2..65536");
  problems.require(validation_chunk >= 2, "--validation-chunk", "must be >= 2");
  double sum = 0;
  for (double share : shield_mix) sum += share;
  problems.require(shield_mix.size() == 3 && sum >= 0 && sum < 1, "--shield-mix",
                   "needs three shares that sum to less than 1");
}

HardenTask::HardenTask(ClipModel& model, const HardenOptions& options,
                       const ObjectiveOptions& objective, const HardenData& data,
                       double logit_scale, uint64_t seed)
    : model_(model),
      options_(options),
      objective_(make_objective(objective)),
      shield_(objective.name == "shield_clip"),
      data_(data),
      logit_scale_(logit_scale),
      seed_(seed),
      staging_(model.device()) {
  if (!objective_->needs_targets()) return;
  if (data_.train_references->table() == nullptr)
    throw UsageError("--objective " + objective.name +
                     " looks for the nearest safe item of the whole data set, which streamed "
                     "shards do not allow; give a data set directory");
  find_targets();
}

void HardenTask::find_targets() {
  const QuadrupletEmbeddings& table = *data_.train_references->table();
  auto [text_index, text_value] = nearest(table.unsafe_text, table.safe_text);
  auto [image_index, image_value] = nearest(table.unsafe_image, table.safe_image);
  target_of_text_ = text_index;
  target_of_image_ = image_index;
  difficulty_ = descending_rank(text_value + image_value);
}

std::vector<TrainableParameter> HardenTask::parameters() {
  std::vector<TrainableParameter> list;
  auto trains = [&](const std::string& name) {
    const bool image = name.starts_with("vision_model.") || name.starts_with("visual_projection");
    return options_.towers == "both" || (options_.towers == "image") == image;
  };
  if (options_.mode == "lora") {
    for (auto& [name, tensor] : nn::lora_parameters(model_))
      if (trains(name)) list.push_back({name, tensor, 1.0, true});
    return list;
  }
  nn::each_parameter(model_, [&](const std::string& name, nn::Parameter& parameter) {
    // The scale belongs to the objective's fixed temperature.
    if (name == "logit_scale" || !trains(name)) return;
    parameter.value.requires_grad_(true);
    list.push_back({name, parameter.value, 1.0, parameter.value.dim() >= 2});
  });
  return list;
}

std::optional<MemoryNeed> HardenTask::memory() const {
  ClipStep step;
  step.batch = options_.batch;
  step.images = options_.towers == "text" ? 0 : 2;  // a safe and an unsafe one
  step.texts = options_.towers == "image" ? 0 : 2;
  step.tokens = data_.text_tokens;
  if (options_.mode == "full") step.lighter_mode = "--mode lora";
  return clip_memory(model_, step);
}

SourcePtr<HardenBatch> HardenTask::batches(const Communicator& communicator) {
  return map<QuadrupletBatch, HardenBatch>(
      data_.train->open(options_.batch, communicator.rank(), communicator.world_size()),
      [this](const QuadrupletBatch& batch) {
        HardenBatch out = prepare(batch, *data_.train_references);
        if (shield_) mix_for_shield(batch, out);
        if (objective_->needs_targets()) add_targets(batch, out.known);
        send(out);
        return out;
      });
}

HardenBatch HardenTask::prepare(const QuadrupletBatch& batch, const References& references) const {
  HardenBatch out;
  out.size = batch.size();
  out.input = QuadrupletTensors(batch);
  // Here, in memory: a device would stop at a wrong one.
  if (out.input.ids.defined())
    nn::check_ids(out.input.ids, model_.config().text.vocab_size, "text");
  out.known.reference = references.rows(batch);
  out.known.logit_scale = logit_scale_;
  const auto halves = [](const std::vector<int64_t>& keys) {
    return at::tensor(keys, at::kLong).chunk(2);
  };
  const auto texts = halves(batch.text_keys), images = halves(batch.image_keys);
  out.known.keys = {texts[0], texts[1], images[0], images[1]};
  return out;
}

void HardenTask::send(HardenBatch& batch) const {
  ObjectiveInput& k = batch.known;
  batch.arrival = staging_.send({&batch.input.ids, &batch.input.pixels, &k.reference.safe_text,
                                 &k.reference.unsafe_text, &k.reference.safe_image,
                                 &k.reference.unsafe_image, &k.keys.safe_text, &k.keys.unsafe_text,
                                 &k.keys.safe_image, &k.keys.unsafe_image, &k.target_text,
                                 &k.target_text_image, &k.target_image, &k.target_image_text,
                                 &k.difficulty, &batch.text_replaced, &batch.image_replaced});
}

// Labels from the data where it has them: then a generated half that is safe keeps its own content
// and reference. Else by shares: a half that is to be safe becomes the safe partner's.
void HardenTask::mix_for_shield(const QuadrupletBatch& batch, HardenBatch& out) const {
  const int64_t n = batch.size();
  at::Tensor text_unsafe = at::ones({n}, at::kBool), image_unsafe = at::ones({n}, at::kBool);
  at::Tensor text_replaced = at::zeros({n}, at::kBool), image_replaced = at::zeros({n}, at::kBool);
  const auto& mix = options_.shield_mix;
  for (int64_t i = 0; i < n; ++i) {
    const auto k = static_cast<size_t>(i);
    const Unsafe text = batch.text_unsafe[k], image = batch.image_unsafe[k];
    if (text != Unsafe::kUnknown || image != Unsafe::kUnknown) {
      if (text == Unsafe::kNo) text_unsafe[i] = false;
      if (image == Unsafe::kNo) image_unsafe[i] = false;
      continue;
    }
    const double u = Random::named(seed_, "shield." + batch.turns[k]).uniform();
    const bool both = u >= mix[0] + mix[1] && u < mix[0] + mix[1] + mix[2];
    if (both || (u >= mix[0] && u < mix[0] + mix[1])) {
      text_unsafe[i] = false;
      text_replaced[i] = true;
    }
    if (both || u < mix[0]) {
      image_unsafe[i] = false;
      image_replaced[i] = true;
    }
  }
  QuadrupletKeys& keys = out.known.keys;
  keys.unsafe_text = at::where(text_replaced, keys.safe_text, keys.unsafe_text);
  keys.unsafe_image = at::where(image_replaced, keys.safe_image, keys.unsafe_image);
  out.known.text_unsafe = text_unsafe;
  out.known.image_unsafe = image_unsafe;
  out.text_replaced = text_replaced;
  out.image_replaced = image_replaced;
}

void HardenTask::replace_halves(const HardenBatch& batch, QuadrupletTensors& input,
                                QuadrupletEmbeddings& reference) {
  const auto shaped = [](const at::Tensor& replaced, int64_t dimensions) {
    auto shape = std::vector<int64_t>(static_cast<size_t>(dimensions), 1);
    shape[0] = replaced.size(0);
    return replaced.view(shape);
  };
  // The second half of `rows` shows the first where `replaced`.
  const auto replace = [&](at::Tensor& rows, const at::Tensor& replaced) {
    if (!rows.defined()) return;
    const auto halves = rows.chunk(2);
    rows = at::cat({halves[0], at::where(shaped(replaced, rows.dim()), halves[0], halves[1])});
  };
  replace(input.ids, batch.text_replaced);
  replace(input.pixels, batch.image_replaced);
  reference.unsafe_text =
      at::where(shaped(batch.text_replaced, 2), reference.safe_text, reference.unsafe_text);
  reference.unsafe_image =
      at::where(shaped(batch.image_replaced, 2), reference.safe_image, reference.unsafe_image);
}

QuadrupletEmbeddings HardenTask::embed(const QuadrupletTensors& input,
                                       const QuadrupletEmbeddings& reference) const {
  QuadrupletTensors trained = input;
  if (options_.towers == "image") trained.ids = at::Tensor();
  if (options_.towers == "text") trained.pixels = at::Tensor();
  QuadrupletEmbeddings out = embed_batch(model_, trained);
  if (!out.safe_text.defined()) {
    out.safe_text = reference.safe_text;
    out.unsafe_text = reference.unsafe_text;
  }
  if (!out.safe_image.defined()) {
    out.safe_image = reference.safe_image;
    out.unsafe_image = reference.unsafe_image;
  }
  return out;
}

void HardenTask::add_targets(const QuadrupletBatch& batch, ObjectiveInput& input) const {
  const QuadrupletEmbeddings& table = *data_.train_references->table();
  const at::Tensor rows = at::tensor(at::ArrayRef<int64_t>(batch.rows), at::kLong);
  const at::Tensor by_text = target_of_text_.index_select(0, rows);
  const at::Tensor by_image = target_of_image_.index_select(0, rows);
  input.target_text = table.safe_text.index_select(0, by_text);
  input.target_text_image = table.safe_image.index_select(0, by_text);
  input.target_image = table.safe_image.index_select(0, by_image);
  input.target_image_text = table.safe_text.index_select(0, by_image);
  input.difficulty = difficulty_.index_select(0, rows);
}

ObjectiveInput HardenTask::input_of(const HardenBatch& batch) const {
  batch.arrival.wait();
  QuadrupletTensors input = batch.input;
  ObjectiveInput out = batch.known;
  if (!out.reference.safe_text.defined()) out.reference = data_.train_references->compute(input);
  if (batch.text_replaced.defined()) replace_halves(batch, input, out.reference);
  out.tuned = embed(input, out.reference);
  if (options_.reference == "shared") {
    const auto& t = out.tuned;
    out.reference = {t.safe_text.detach(), t.unsafe_text.detach(), t.safe_image.detach(),
                     t.unsafe_image.detach()};
  }
  return out;
}

StepLoss HardenTask::loss(HardenBatch& batch, const StepInfo& info) {
  ObjectiveInput input = input_of(batch);
  input.progress =
      static_cast<double>(info.step) / static_cast<double>(std::max<int64_t>(1, info.total_steps));
  StepLoss loss = objective_->compute(gather_input(std::move(input), *info.communicator));
  loss.samples = batch.size;
  return loss;
}

std::map<std::string, double> HardenTask::validate(const StepInfo& info) {
  if (data_.val == nullptr || data_.val->size() == 0) return {};
  const at::NoGradGuard no_grad;
  model_.set_training(false);
  const int64_t chunk = options_.validation_chunk;
  const RowRange own = own_share(data_.val->size(), chunk, *info.communicator);
  // The next chunk is decoded while one is embedded.
  auto chunks =
      prefetch(map<int64_t, HardenBatch>(indices((own.size() + chunk - 1) / chunk), [&](int64_t i) {
        const int64_t begin = own.begin + i * chunk;
        HardenBatch batch = prepare(data_.val->load(begin, std::min(own.end, begin + chunk)),
                                    *data_.val_references);
        send(batch);
        return batch;
      }));
  std::vector<QuadrupletEmbeddings> tuned, references;
  std::vector<at::Tensor> keys;
  for (HardenBatch batch; chunks->next(batch);) {
    if (batch.size == 0) continue;
    batch.arrival.wait();
    const QuadrupletEmbeddings& known = batch.known.reference;
    references.push_back(known.safe_text.defined() ? known
                                                   : data_.val_references->compute(batch.input));
    tuned.push_back(embed(batch.input, references.back()));
    const QuadrupletKeys& k = batch.known.keys;
    keys.push_back(at::stack({k.safe_text, k.unsafe_text, k.safe_image, k.unsafe_image}, 1));
  }
  model_.set_training(true);
  const auto floats = at::TensorOptions(at::kFloat).device(staging_.device());
  const int64_t dim = model_.config().projection_dim;
  const QuadrupletEmbeddings all = gather_all(tuned, dim, floats, *info.communicator);
  const QuadrupletEmbeddings reference = gather_all(references, dim, floats, *info.communicator);
  keys.push_back(at::empty({0, 4}, floats.dtype(at::kLong)));
  const at::Tensor all_keys = gather_shares(at::cat(keys), *info.communicator);
  if (all.size() == 0) return {};
  return validation_metrics(
      *objective_, all, options_.reference == "shared" ? all : reference, reference,
      {all_keys.select(1, 0), all_keys.select(1, 1), all_keys.select(1, 2), all_keys.select(1, 3)},
      logit_scale_, chunk);
}

}  // namespace parapet
