#include "parapet/methods/guard_heads/heads.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/formats/safetensors.h"
#include "parapet/methods/guard_heads/head_net.h"
#include "parapet/nn/checkpoint.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr const char* kFormat = "parapet.guard_heads";
constexpr int64_t kVersion = 1;
constexpr int64_t kMaxWidth = 1 << 16, kMaxCategories = 1024;

json number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

json info_json(const GuardHeadsInfo& info) {
  json out = {{"format", kFormat},
              {"format_version", kVersion},
              {"categories", info.categories},
              {"dim", info.dim},
              {"hidden", info.hidden},
              {"features", {{"image", "i"}, {"text", "t"}, {"joint", "i, t, i*t, |i-t|"}}},
              {"model_hash", info.model_hash},
              {"embedding", info.embedding},
              {"version", info.version},
              {"conformal_alpha", info.conformal_alpha},
              {"cosine_quantiles", info.cosine_quantiles},
              {"calibration", json::object()},
              {"thresholds", json::object()}};
  for (const auto& [name, map] : info.calibration) out["calibration"][name] = to_json(map);
  for (const auto& [name, t] : info.thresholds)
    out["thresholds"][name] = {{"fpr1", number(t.fpr1)},
                               {"recall95", number(t.recall95)},
                               {"review_low", number(t.review_low)},
                               {"review_high", number(t.review_high)},
                               {"best_f1", number(t.best_f1)}};
  return out;
}

GuardHeadsInfo info_from_json(const json& value, const std::string& place) {
  GuardHeadsInfo info;
  if (json_field<std::string>(value, "format", place) != kFormat)
    throw DataError(place, std::string("field 'format' is not \"") + kFormat + "\"");
  if (json_field<int64_t>(value, "format_version", place) > kVersion)
    throw DataError(place, "was written by a newer Parapet", "Update, or train the heads again.");
  info.categories = json_field<std::vector<std::string>>(value, "categories", place);
  info.dim = json_field<int64_t>(value, "dim", place);
  info.hidden = json_field<int64_t>(value, "hidden", place);
  const auto count = static_cast<int64_t>(info.categories.size());
  if (info.dim < 1 || info.dim > kMaxWidth || info.hidden < 0 || info.hidden > kMaxWidth ||
      count < 1 || count > kMaxCategories)
    throw DataError(place, "fields 'dim', 'hidden' or 'categories' are out of range");
  info.model_hash = json_field<std::string>(value, "model_hash", place);
  info.embedding = json_field_or<std::string>(value, "embedding", "original", place);
  info.version = json_field_or<std::string>(value, "version", "", place);
  info.conformal_alpha = json_field_or<double>(value, "conformal_alpha", 0, place);
  info.cosine_quantiles = json_field_or<std::vector<double>>(value, "cosine_quantiles", {}, place);
  if (!std::is_sorted(info.cosine_quantiles.begin(), info.cosine_quantiles.end()))
    throw DataError(place, "field 'cosine_quantiles' must not fall");
  const json calibration = value.value("calibration", json::object());
  for (const auto& [name, map] : calibration.items())
    info.calibration[name] =
        score_calibration_from_json(map, place + ": calibration '" + name + "'");
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const json thresholds = value.value("thresholds", json::object());
  for (const auto& [name, t] : thresholds.items()) {
    const std::string at_name = place + ": thresholds '" + name + "'";
    info.thresholds[name] = {json_field_or<double>(t, "fpr1", nan, at_name),
                             json_field_or<double>(t, "recall95", nan, at_name),
                             json_field_or<double>(t, "review_low", nan, at_name),
                             json_field_or<double>(t, "review_high", nan, at_name),
                             json_field_or<double>(t, "best_f1", nan, at_name)};
  }
  return info;
}

// Share of quantiles below `value`, linear between them.
double percentile(const std::vector<double>& quantiles, double value) {
  if (quantiles.size() < 2) return 0;
  const auto above = std::upper_bound(quantiles.begin(), quantiles.end(), value);
  if (above == quantiles.begin()) return 0;
  if (above == quantiles.end()) return 1;
  const auto right = static_cast<size_t>(above - quantiles.begin());
  const double gap = quantiles[right] - quantiles[right - 1];
  const double share = gap > 0 ? (value - quantiles[right - 1]) / gap : 0;
  return (static_cast<double>(right - 1) + share) / static_cast<double>(quantiles.size() - 1);
}

at::Tensor as_tensor(std::span<const float> values, int64_t count, int64_t dim, const char* side) {
  if (values.empty()) return {};
  if (static_cast<int64_t>(values.size()) != count * dim)
    throw UsageError(std::string("guard heads: ") + side + " embeddings hold " +
                     std::to_string(values.size()) + " numbers, expected " + std::to_string(count) +
                     " x " + std::to_string(dim));
  if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }))
    throw DataError(std::string(side) + " embedding", "holds NaN or infinity");
  return at::from_blob(const_cast<float*>(values.data()), {count, dim}, at::kFloat);
}

}  // namespace

struct GuardHeads::State {
  GuardHeadsInfo info;
  HeadNet net;
  // Calibration per input and output in order (categories, harm), and of the contradiction.
  std::array<std::vector<ScoreCalibration>, 3> maps;
  ScoreCalibration contradiction, implicit;

  void resolve_maps() {
    const auto find = [&](const std::string& name) {
      const auto it = info.calibration.find(name);
      return it == info.calibration.end() ? ScoreCalibration{} : it->second;
    };
    for (const HeadInput input : kHeadInputs) {
      const std::string prefix = std::string(head_input_name(input)) + ".";
      auto& list = maps[static_cast<size_t>(input)];
      for (const auto& category : info.categories) list.push_back(find(prefix + category));
      list.push_back(find(prefix + "harm"));
    }
    contradiction = find("contradiction");
    implicit = find("implicit");
  }

  void fill(const HeadLogits& logits, std::vector<GuardScores>& out) const {
    for (size_t input = 0; input < 3; ++input) {
      if (!logits.harm[input].defined()) continue;
      const auto rows = logits.harm[input].contiguous();
      const float* row = rows.const_data_ptr<float>();
      const size_t categories = info.categories.size();
      for (GuardScores& scores : out) {
        HeadScores& head = scores.by_input[input];
        head.present = true;
        head.categories.resize(categories);
        for (size_t c = 0; c < categories; ++c)
          head.categories[c] = static_cast<float>(maps[input][c](row[c]));
        head.harm = static_cast<float>(maps[input][categories](row[categories]));
        row += categories + 1;
      }
    }
  }
};

GuardHeads::GuardHeads(std::unique_ptr<State> state) : state_(std::move(state)) {}
GuardHeads::~GuardHeads() = default;
GuardHeads::GuardHeads(GuardHeads&&) noexcept = default;
GuardHeads& GuardHeads::operator=(GuardHeads&&) noexcept = default;

GuardHeads GuardHeads::load(const fs::path& path) {
  const fs::path file = fs::is_directory(path) ? path / "guard_heads.json" : path;
  if (!fs::exists(file))
    throw DataError(file.string(), "does not exist",
                    "Make guard heads with 'parapet train guard'.");
  auto state = std::make_unique<State>();
  state->info = info_from_json(load_json(file), file.string());
  const fs::path weights = fs::path(file).replace_extension(".safetensors");
  // Copied: a server must outlive a file that is overwritten.
  const auto archive = TensorArchive::open(weights, "model", TensorStorage::kCopied);
  state->net = HeadNet::random(state->info.dim, state->info.hidden,
                               static_cast<int64_t>(state->info.categories.size()), 0);
  nn::load_parameters(state->net, archive, {});
  nn::each_parameter(state->net, [&](const std::string& name, const nn::Parameter& parameter) {
    if (!at::isfinite(parameter.value).all().item<bool>())
      throw DataError(weights.string(), "tensor '" + name + "' holds NaN or infinity");
  });
  state->resolve_maps();
  return GuardHeads(std::move(state));
}

const GuardHeadsInfo& GuardHeads::info() const { return state_->info; }

int64_t GuardHeads::category_index(std::string_view name) const {
  const auto& names = categories();
  const auto it = std::find(names.begin(), names.end(), name);
  return it == names.end() ? -1 : it - names.begin();
}

void GuardHeads::check_model(std::string_view model_key, std::string_view source) const {
  if (model_key == info().model_hash) return;
  throw DataError(source, "is not the model these guard heads were trained on",
                  "Their scores would mean nothing; train heads on this model.");
}

std::vector<GuardScores> GuardHeads::score_batch(std::span<const float> images,
                                                 std::span<const float> texts,
                                                 int64_t count) const {
  const c10::InferenceMode guard;
  std::vector<GuardScores> out(static_cast<size_t>(count));
  if (count == 0) return out;
  const at::Tensor image = as_tensor(images, count, dim(), "image");
  const at::Tensor text = as_tensor(texts, count, dim(), "text");
  if (!image.defined() && !text.defined()) return out;
  const HeadLogits logits = state_->net.forward(image, text);
  state_->fill(logits, out);
  if (!logits.contradiction.defined()) return out;
  const at::Tensor cosines = (image * text).sum(1).contiguous();
  const at::Tensor contradiction = logits.contradiction.contiguous();
  const auto last = static_cast<int64_t>(categories().size());
  const at::Tensor implicit = logits.implicit_pair.select(1, last).contiguous();
  for (size_t i = 0; i < out.size(); ++i) {
    out[i].contradiction =
        static_cast<float>(state_->contradiction(contradiction.const_data_ptr<float>()[i]));
    out[i].implicit = static_cast<float>(state_->implicit(implicit.const_data_ptr<float>()[i]));
    out[i].cosine = cosines.const_data_ptr<float>()[i];
    out[i].cosine_percentile =
        static_cast<float>(percentile(info().cosine_quantiles, out[i].cosine));
  }
  return out;
}

GuardScores GuardHeads::score(std::span<const float> image, std::span<const float> text) const {
  return std::move(score_batch(image, text, 1).front());
}

void save_heads(const fs::path& folder, const HeadNet& net, GuardHeadsInfo info) {
  fs::create_directories(folder);
  info.dim = net.dim;
  info.hidden = net.hidden;
  info.version.clear();
  info.version =
      Sha256().update(nn::parameters_hash(net)).update(info_json(info).dump()).hex().substr(0, 16);
  nn::NamedTensors tensors;
  nn::each_parameter(net, [&](const std::string& name, const nn::Parameter& parameter) {
    tensors.emplace_back(name, parameter.value.detach().to(at::kCPU, at::kFloat));
  });
  nn::save_tensors(folder / "guard_heads.safetensors", tensors);
  // Last: its presence means that the heads are whole.
  save_json(folder / "guard_heads.json", info_json(info));
}

}  // namespace parapet
