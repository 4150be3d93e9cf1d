#include "parapet/methods/guard_heads/filter_task.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numeric>

#include "parapet/attacks/adversary.h"
#include "parapet/core/random.h"
#include "parapet/data/sources/compose.h"
#include "parapet/methods/clip_memory.h"
#include "parapet/nn/contrastive.h"
#include "parapet/training/sharding.h"

namespace parapet {
namespace {

constexpr int64_t kChunk = 256;

at::Tensor row_index(const std::vector<int64_t>& rows) { return at::tensor(rows, at::kLong); }

at::Tensor mean_or_zero(const at::Tensor& values, const at::Tensor& mask) {
  return (values * mask).sum() / mask.sum().clamp_min(1);
}

}  // namespace

FilterTask::FilterTask(HeadNet& net, const FilterOptions& options, const FilterTaskInputs& inputs)
    : net_(net),
      options_(options),
      in_(inputs),
      criterion_(inputs.train->set(), net.cosine_gain.device(), options.loss),
      device_(net.cosine_gain.device()),
      staging_(device_),
      knows_matches_(inputs.train->set().targets.contradiction.eq(0).any().item<bool>()) {
  if (finetunes()) trunk_ = unfreeze_plan(*in_.model, options.unfreeze);
  if (in_.model != nullptr) logit_scale_ = std::exp(in_.model->logit_scale().value.item<double>());
  if (options.bias.gradient_reversal <= 0) return;
  const auto groups = static_cast<int64_t>(inputs.train->set().group_names.size());
  const int64_t width = net.hidden > 0 ? 4 * net.hidden : 10 * net.dim;
  opponent_weight_ = at::zeros({groups, width}, net.cosine_gain.options()).requires_grad_(true);
  opponent_bias_ = at::zeros({groups}, net.cosine_gain.options()).requires_grad_(true);
}

std::vector<TrainableParameter> FilterTask::parameters() {
  std::vector<TrainableParameter> list;
  nn::each_parameter(net_, [&](const std::string& name, nn::Parameter& parameter) {
    parameter.value.requires_grad_(true);
    list.push_back({"heads." + name, parameter.value, 1.0, parameter.value.dim() >= 2});
  });
  // A gain of -20 moves on another scale than weights do.
  list.back().lr_scale = 10;
  for (TrunkParameter& parameter : trunk_) {
    parameter.tensor.requires_grad_(true);
    list.push_back({parameter.name, parameter.tensor, parameter.lr / in_.base_lr,
                    parameter.tensor.dim() >= 2});
  }
  if (opponent_weight_.defined()) {
    list.push_back({"opponent.weight", opponent_weight_, 1.0, true});
    list.push_back({"opponent.bias", opponent_bias_, 1.0, false});
  }
  return list;
}

std::optional<MemoryNeed> FilterTask::memory() const {
  if (in_.model == nullptr) return std::nullopt;
  ClipStep step;
  step.batch = options_.batch;
  if (finetunes()) {
    // The changed pictures pass through the tower beside the batch's own.
    step.images = options_.adversary.active() && options_.adversary.on_pixels() ? 2 : 1;
    const int64_t first = std::min<int64_t>(kChunk, in_.train->set().size());
    std::vector<int64_t> rows(static_cast<size_t>(first));
    std::iota(rows.begin(), rows.end(), 0);
    step.tokens = in_.train->ids(rows, 0).size(1);
    step.lighter_mode = "a smaller --unfrozen-share, or --mode heads";
  }
  MemoryNeed need = clip_memory(*in_.model, step);
  const TrainingMemory heads = estimate_training_memory(net_, {});
  need.memory.parameters += heads.parameters;
  need.memory.gradients += heads.gradients;
  need.memory.optimizer += heads.optimizer;
  // Frozen towers are not even run: the batch and its checkpoints change nothing.
  if (!finetunes()) need.remedies.clear();
  return need;
}

SourcePtr<FilterDraw> FilterTask::batches(const Communicator& communicator) {
  return map<FilterRows, FilterDraw>(filter_rows(in_.train->set(), in_.seed, options_.batch,
                                                 communicator.rank(), communicator.world_size()),
                                     [this](const FilterRows& rows) { return draw(rows); });
}

FilterDraw FilterTask::draw(const FilterRows& rows) const {
  FilterDraw out;
  out.size = static_cast<int64_t>(rows.rows.size());
  out.targets = in_.train->set().targets.select(row_index(rows.rows));
  if (finetunes())
    draw_samples(rows, out);
  else
    draw_embeddings(rows, out);
  std::vector<at::Tensor*> all = {&out.image,     &out.text,           &out.pixels,
                                  &out.ids,       &out.original_image, &out.original_text,
                                  &out.text_keys, &out.image_keys,     &out.matches};
  for (at::Tensor* target : out.targets.tensors()) all.push_back(target);
  out.arrival = staging_.send(all);
  return out;
}

void FilterTask::draw_embeddings(const FilterRows& rows, FilterDraw& out) const {
  const int64_t versions = in_.train_embeds->image.size(0), n = in_.train_embeds->image.size(1);
  // Each sample shows one of its versions; image and text choose apart.
  Random random = Random::named(in_.seed, "guard.versions." + std::to_string(rows.index));
  std::vector<int64_t> image_rows, text_rows;
  for (const int64_t row : rows.rows) {
    image_rows.push_back(static_cast<int64_t>(random.below(versions)) * n + row);
    text_rows.push_back(static_cast<int64_t>(random.below(versions)) * n + row);
  }
  out.image = in_.train_embeds->image.flatten(0, 1).index_select(0, row_index(image_rows));
  out.text = in_.train_embeds->text.flatten(0, 1).index_select(0, row_index(text_rows));
}

void FilterTask::draw_samples(const FilterRows& rows, FilterDraw& out) const {
  // Every other batch shows the samples as they are: the terms that keep CLIP's ability need them.
  out.changed = rows.index % 2 == 1;
  const int64_t version = out.changed ? rows.index + 1 : 0;
  const at::Tensor index = row_index(rows.rows);
  out.pixels = in_.train->pixels(rows.rows, version);
  out.ids = in_.train->ids(rows.rows, version);
  out.original_image = in_.train_embeds->image[0].index_select(0, index);
  out.original_text = in_.train_embeds->text[0].index_select(0, index);
  out.text_keys = in_.train->text_keys().index_select(0, index);
  out.image_keys = in_.train->image_keys().index_select(0, index);
  const at::Tensor harm = out.targets.harm[2].select(1, net_.categories);
  out.matches = (harm.eq(0) * out.targets.contradiction.eq(0)).nonzero().squeeze(1);
}

void FilterTask::add_noise(FilterDraw& batch) const {
  if (options_.embedding_noise <= 0) return;
  for (at::Tensor* x : {&batch.image, &batch.text}) {
    const at::Tensor present = x->abs().sum(1, true).gt(0);
    const double deviation = options_.embedding_noise / std::sqrt(static_cast<double>(x->size(1)));
    *x = nn::normalise_rows(*x + at::randn_like(*x) * deviation) * present;
  }
}

void FilterTask::encode(FilterDraw& batch) {
  batch.image = encode_pixels(batch.pixels);
  batch.text = nn::normalise_rows(in_.model->encode_text(batch.ids));
  batch.image = batch.image * batch.original_image.abs().sum(1, true).gt(0);
  batch.text = batch.text * batch.original_text.abs().sum(1, true).gt(0);
}

at::Tensor FilterTask::encode_pixels(const at::Tensor& pixels) {
  return nn::normalise_rows(in_.model->encode_image(pixels.to(in_.model->compute())));
}

at::Tensor FilterTask::contradiction_loss(const FilterDraw& batch, const HeadLogits& logits) {
  at::Tensor total = criterion_.contradiction(logits.contradiction, batch.targets);
  // With nothing but contradictions to learn from, every pair would become one.
  if (options_.loss.mismatched_pairs <= 0 || !knows_matches_) return total;
  const at::Tensor rolled = batch.text.roll(1, 0);
  const at::Tensor both = batch.image.abs().sum(1).gt(0).to(at::kFloat) * rolled.abs().sum(1).gt(0);
  // Two samples with the same caption would be no contradiction.
  const at::Tensor other = (batch.text * rolled).sum(1).lt(0.999);
  const at::Tensor truth = at::where((both * other).gt(0), at::ones_like(both), -1.0);
  const at::Tensor extra =
      masked_bce(net_.contradiction(batch.image, rolled), truth, {}, batch.targets.weight, 0);
  return total + extra * options_.loss.mismatched_pairs;
}

at::Tensor FilterTask::adversarial_loss(const FilterDraw& batch) {
  const auto loss_at = [&](const at::Tensor& image, const at::Tensor& text) {
    return criterion_.classification(net_.forward(image, text), batch.targets);
  };
  if (options_.adversary.on_pixels()) {
    const at::Tensor text = batch.text.detach();
    const at::Tensor pixels = adversarial_pixels(
        batch.pixels, [&](const at::Tensor& x) { return loss_at(encode_pixels(x), text); },
        in_.assets->processor->mean(), in_.assets->processor->std(), options_.adversary);
    return loss_at(encode_pixels(pixels), text);
  }
  const auto changed = adversarial_embeddings(batch.image, batch.text, loss_at, options_.adversary);
  return loss_at(changed[0], changed[1]);
}

at::Tensor FilterTask::opponent_loss(const HeadLogits& logits, const FilterTargets& targets) {
  const at::Tensor hidden =
      at::cat({logits.hidden[0], logits.hidden[1], logits.hidden[2], logits.hidden[3]}, 1);
  const at::Tensor guess = at::linear(reverse_gradient(hidden, options_.bias.gradient_reversal),
                                      opponent_weight_, opponent_bias_);
  const at::Tensor known = targets.group.ge(0).to(at::kFloat);
  const at::Tensor loss =
      at::cross_entropy_loss(guess, targets.group.clamp_min(0), {}, at::Reduction::None);
  return mean_or_zero(loss, known);
}

at::Tensor FilterTask::keep_contrastive(const FilterDraw& batch) {
  const at::Tensor& rows = batch.matches;
  if (rows.size(0) < 2) return at::zeros({}, batch.image.options());
  const at::Tensor duplicates = nn::duplicate_rows(batch.text_keys.index_select(0, rows),
                                                   batch.image_keys.index_select(0, rows));
  return nn::info_nce(batch.text.index_select(0, rows), batch.image.index_select(0, rows),
                      logit_scale_, duplicates);
}

at::Tensor FilterTask::keep_original(const FilterDraw& batch) {
  const auto distance = [](const at::Tensor& x, const at::Tensor& original) {
    return mean_or_zero(1 - (x * original).sum(1), original.abs().sum(1).gt(0).to(at::kFloat));
  };
  return distance(batch.image, batch.original_image) + distance(batch.text, batch.original_text);
}

StepLoss FilterTask::loss(FilterDraw& batch, const StepInfo& info) {
  if (finetunes()) apply_unfreezing(trunk_, info.step / std::max<int64_t>(1, in_.steps_per_epoch));
  batch.arrival.wait();
  if (finetunes())
    encode(batch);
  else
    add_noise(batch);
  const HeadLogits logits = net_.forward(batch.image, batch.text, options_.dropout);
  StepLoss out;
  out.samples = batch.size;
  out.total = at::zeros({}, batch.image.options());
  const auto add = [&](const char* name, double weight, const at::Tensor& value) {
    out.terms.push_back({name, value.detach()});
    if (weight != 0) out.total = out.total + value * weight;
  };
  add("classification", options_.loss.classification,
      criterion_.classification(logits, batch.targets));
  add("contradiction", options_.loss.contradiction, contradiction_loss(batch, logits));
  const auto groups = static_cast<int64_t>(in_.train->set().group_names.size());
  if (options_.bias.score_alignment > 0)
    add("score_alignment", options_.bias.score_alignment,
        score_alignment(logits, batch.targets, groups));
  if (opponent_weight_.defined()) add("opponent", 1.0, opponent_loss(logits, batch.targets));
  if (options_.adversary.active())
    add("adversarial", options_.adversary.weight, adversarial_loss(batch));
  if (!finetunes()) return out;
  const at::Tensor none = at::zeros({}, batch.image.options());
  add("contrastive", options_.unfreeze.contrastive, keep_contrastive(batch));
  add("original", options_.unfreeze.cosine_to_original,
      batch.changed ? none : keep_original(batch));
  return out;
}

HeadLogits FilterTask::logits_of(const FilterInputs& inputs, const FilterEmbeddings& embeds,
                                 Communicator& communicator, at::Tensor* cosines) {
  const at::NoGradGuard no_grad;
  // Columns: three sides, the pair by grade, contradiction, cosine.
  const int64_t width = net_.categories + 1;
  std::vector<at::Tensor> parts = {at::empty({0, 5 * width + 2})};
  const RowRange own = own_share(inputs.set().size(), kChunk, communicator);
  for (int64_t first = own.begin; first < own.end; first += kChunk) {
    const int64_t end = std::min(own.end, first + kChunk);
    std::vector<int64_t> rows(static_cast<size_t>(end - first));
    std::iota(rows.begin(), rows.end(), first);
    at::Tensor image = embeds.image[0].slice(0, first, end).to(device_);
    at::Tensor text = embeds.text[0].slice(0, first, end).to(device_);
    if (finetunes()) {
      image = encode_pixels(inputs.pixels(rows, 0).to(device_)) * image.abs().sum(1, true).gt(0);
      const at::Tensor ids = inputs.ids(rows, 0).to(device_);
      text = nn::normalise_rows(in_.model->encode_text(ids)) * text.abs().sum(1, true).gt(0);
    }
    const HeadLogits part = net_.forward(image, text);
    parts.push_back(
        at::cat({part.harm[0], part.harm[1], part.harm[2], part.explicit_pair, part.implicit_pair,
                 part.contradiction.view({-1, 1}), (image * text).sum(1).view({-1, 1})},
                1)
            .cpu());
  }
  const at::Tensor all = gather_shares(at::cat(parts), communicator);
  HeadLogits out;
  if (inputs.set().size() == 0) return out;
  const auto columns = all.split_with_sizes({width, width, width, width, width, 1, 1}, 1);
  for (size_t side = 0; side < 3; ++side) out.harm[side] = columns[side];
  out.explicit_pair = columns[3];
  out.implicit_pair = columns[4];
  out.contradiction = columns[5].squeeze(1);
  if (cosines != nullptr) *cosines = columns[6].squeeze(1);
  return out;
}

std::map<std::string, double> FilterTask::validate(const StepInfo& info) {
  if (in_.val == nullptr || in_.val->set().size() == 0) return {};
  const at::NoGradGuard no_grad;
  HeadLogits logits = logits_of(*in_.val, *in_.val_embeds, *info.communicator);
  for (auto* part : {&logits.harm[0], &logits.harm[1], &logits.harm[2], &logits.explicit_pair,
                     &logits.implicit_pair})
    *part = part->to(device_);
  const FilterTargets targets = in_.val->set().targets.on(device_);
  const double classes = criterion_.classification(logits, targets).item<double>();
  const double pairs =
      criterion_.contradiction(logits.contradiction.to(device_), targets).item<double>();
  return {{"loss", options_.loss.classification * classes + options_.loss.contradiction * pairs},
          {"classification", classes},
          {"contradiction", pairs}};
}

}  // namespace parapet
