#include "parapet/methods/safe_clip/harden_task.h"

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "parapet/core/random.h"
#include "parapet/data/loader.h"
#include "parapet/methods/safe_clip/validation.h"
#include "parapet/nn/contrastive.h"
#include "parapet/training/distributed.h"

namespace parapet {
namespace {

at::Tensor row_index(const std::vector<int64_t>& rows) {
  return at::tensor(at::ArrayRef<int64_t>(rows), at::kLong);
}

QuadrupletEmbeddings pick(const QuadrupletEmbeddings& all, const at::Tensor& rows) {
  return {all.safe_text.index_select(0, rows), all.unsafe_text.index_select(0, rows),
          all.safe_image.index_select(0, rows), all.unsafe_image.index_select(0, rows)};
}

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
                       const ObjectiveOptions& objective, const QuadrupletStore& train,
                       QuadrupletEmbeddings train_reference, const QuadrupletStore& val,
                       QuadrupletEmbeddings val_reference, double logit_scale, uint64_t seed,
                       int64_t rank, int64_t world_size)
    : model_(model),
      options_(options),
      objective_(make_objective(objective)),
      shield_(objective.name == "shield_clip"),
      train_(train),
      reference_(std::move(train_reference)),
      val_(val),
      val_reference_(std::move(val_reference)),
      logit_scale_(logit_scale),
      seed_(seed),
      rank_(rank),
      world_size_(world_size) {
  if (objective_->needs_targets()) find_targets();
}

HardenTask::~HardenTask() {
  if (pending_.valid()) pending_.wait();
}

void HardenTask::find_targets() {
  auto [text_index, text_value] = nearest(reference_.unsafe_text, reference_.safe_text);
  auto [image_index, image_value] = nearest(reference_.unsafe_image, reference_.safe_image);
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
    for (auto& [name, tensor] : nn::lora_parameters(model_.linears()))
      if (trains(name)) list.push_back({name, tensor, 1.0, true});
    return list;
  }
  model_.visit([&](const std::string& name, nn::Parameter& parameter) {
    // The scale belongs to the objective's fixed temperature.
    if (name == "logit_scale" || !trains(name)) return;
    parameter.value.requires_grad_(true);
    list.push_back({name, parameter.value, 1.0, parameter.value.dim() >= 2});
  });
  return list;
}

HardenTask::Batch HardenTask::draw(int64_t position) const {
  Batch batch;
  const int64_t first = (position * world_size_ + rank_) * options_.batch;
  batch.rows = epoch_rows(train_.size(), first, options_.batch, seed_, "harden");
  if (options_.towers != "image") batch.ids = train_.ids(batch.rows);
  if (options_.towers != "text") batch.pixels = train_.pixels(batch.rows);
  if (shield_) mix_for_shield(batch, first);
  return batch;
}

// Labels from the data where it has them: then a generated half that is safe keeps its own content
// and reference. Else by shares: a half that is to be safe becomes the safe partner's.
void HardenTask::mix_for_shield(Batch& batch, int64_t first) const {
  const auto n = static_cast<int64_t>(batch.rows.size());
  batch.text_unsafe = at::ones({n}, at::kBool);
  batch.image_unsafe = at::ones({n}, at::kBool);
  batch.text_replaced = at::zeros({n}, at::kBool);
  batch.image_replaced = at::zeros({n}, at::kBool);
  const auto& mix = options_.shield_mix;
  for (int64_t i = 0; i < n; ++i) {
    const auto& attributes = train_.items()[batch.rows[i]].attributes;
    const auto text = attributes.find("text_unsafe"), image = attributes.find("image_unsafe");
    if (text != attributes.end() || image != attributes.end()) {
      if (text != attributes.end() && text->second == "false") batch.text_unsafe[i] = false;
      if (image != attributes.end() && image->second == "false") batch.image_unsafe[i] = false;
      continue;
    }
    const double u = Random::named(seed_, "shield." + std::to_string(first + i)).uniform();
    const bool both = u >= mix[0] + mix[1] && u < mix[0] + mix[1] + mix[2];
    if (both || (u >= mix[0] && u < mix[0] + mix[1])) {
      batch.text_unsafe[i] = false;
      batch.text_replaced[i] = true;
      if (batch.ids.defined()) batch.ids.select(0, n + i).copy_(batch.ids.select(0, i));
    }
    if (both || u < mix[0]) {
      batch.image_unsafe[i] = false;
      batch.image_replaced[i] = true;
      if (batch.pixels.defined()) batch.pixels.select(0, n + i).copy_(batch.pixels.select(0, i));
    }
  }
}

QuadrupletEmbeddings HardenTask::embed(const Batch& batch, const QuadrupletEmbeddings& reference) {
  const auto n = static_cast<int64_t>(batch.rows.size());
  QuadrupletEmbeddings out = reference;
  const auto device = model_.logit_scale().value.device();
  if (batch.ids.defined()) {
    const at::Tensor texts = nn::normalise_rows(model_.encode_text(batch.ids.to(device)));
    out.safe_text = texts.slice(0, 0, n);
    out.unsafe_text = texts.slice(0, n);
  }
  if (batch.pixels.defined()) {
    const at::Tensor images = nn::normalise_rows(model_.encode_image(batch.pixels.to(device)));
    out.safe_image = images.slice(0, 0, n);
    out.unsafe_image = images.slice(0, n);
  }
  return out;
}

ObjectiveInput HardenTask::input_of(const Batch& batch) {
  const at::Tensor rows = row_index(batch.rows);
  const auto device = model_.logit_scale().value.device();
  ObjectiveInput input;
  auto to_device = [&](QuadrupletEmbeddings x) {
    return QuadrupletEmbeddings{x.safe_text.to(device), x.unsafe_text.to(device),
                                x.safe_image.to(device), x.unsafe_image.to(device)};
  };
  input.reference = to_device(pick(reference_, rows));
  if (shield_) {
    // A half that shows the safe partner's content has its reference too.
    auto choose = [&](const at::Tensor& replaced, const at::Tensor& own, const at::Tensor& safe) {
      return at::where(replaced.to(device).view({-1, 1}), safe, own);
    };
    input.text_unsafe = batch.text_unsafe.to(device);
    input.image_unsafe = batch.image_unsafe.to(device);
    auto& r = input.reference;
    r.unsafe_text = choose(batch.text_replaced, r.unsafe_text, r.safe_text);
    r.unsafe_image = choose(batch.image_replaced, r.unsafe_image, r.safe_image);
  }
  if (objective_->needs_targets()) {
    const at::Tensor by_text = target_of_text_.index_select(0, rows);
    const at::Tensor by_image = target_of_image_.index_select(0, rows);
    input.target_text = reference_.safe_text.index_select(0, by_text).to(device);
    input.target_text_image = reference_.safe_image.index_select(0, by_text).to(device);
    input.target_image = reference_.safe_image.index_select(0, by_image).to(device);
    input.target_image_text = reference_.safe_text.index_select(0, by_image).to(device);
    input.difficulty = difficulty_.index_select(0, rows).to(device);
  }
  input.tuned = embed(batch, input.reference);
  if (options_.reference == "shared") {
    const auto& t = input.tuned;
    input.reference = {t.safe_text.detach(), t.unsafe_text.detach(), t.safe_image.detach(),
                       t.unsafe_image.detach()};
  }
  input.logit_scale = logit_scale_;
  return input;
}

StepLoss HardenTask::loss(const StepInfo& info) {
  const Batch batch = pending_.valid() ? pending_.get() : draw(position_);
  ++position_;
  pending_ = std::async(std::launch::async, [this, at = position_] { return draw(at); });
  ObjectiveInput input = input_of(batch);
  input.progress =
      static_cast<double>(info.step) / static_cast<double>(std::max<int64_t>(1, info.total_steps));
  StepLoss loss = objective_->compute(gather_input(std::move(input), *info.communicator));
  loss.samples = static_cast<int64_t>(batch.rows.size());
  return loss;
}

std::map<std::string, double> HardenTask::validate(const StepInfo& /*info*/) {
  if (val_.size() == 0) return {};
  at::NoGradGuard no_grad;
  model_.set_training(false);
  std::vector<QuadrupletEmbeddings> parts;
  for (int64_t begin = 0; begin < val_.size(); begin += options_.validation_chunk) {
    Batch batch;
    for (int64_t i = begin; i < std::min(val_.size(), begin + options_.validation_chunk); ++i)
      batch.rows.push_back(i);
    if (options_.towers != "image") batch.ids = val_.ids(batch.rows);
    if (options_.towers != "text") batch.pixels = val_.pixels(batch.rows);
    parts.push_back(embed(batch, pick(val_reference_, row_index(batch.rows))));
  }
  model_.set_training(true);
  const QuadrupletEmbeddings tuned = concatenate(parts);
  return validation_metrics(*objective_, tuned,
                            options_.reference == "shared" ? tuned : val_reference_, val_reference_,
                            logit_scale_, options_.validation_chunk);
}

nlohmann::json HardenTask::state() const { return {{"batches", position_}}; }

void HardenTask::restore(const nlohmann::json& state) {
  if (pending_.valid()) pending_.wait();
  pending_ = {};
  position_ = state.at("batches").get<int64_t>();
}

}  // namespace parapet
