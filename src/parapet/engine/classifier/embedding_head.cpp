#include "parapet/engine/classifier/embedding_head.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/engine/classifier/npy.h"
#include "parapet/engine/classifier/read_card.h"
#include "parapet/nn/checkpoint.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

struct Layer {
  int64_t in = 0, out = 0;
  std::vector<float> weight, bias;  // [out, in]
  std::string activation;
};

const std::vector<std::string> kActivations = {"none", "relu", "gelu", "sigmoid", "softmax"};

void activate(const std::string& name, std::vector<float>& values) {
  if (name == "relu") {
    for (float& x : values) x = std::max(x, 0.0F);
  } else if (name == "gelu") {
    for (float& x : values) x = 0.5F * x * (1 + std::erf(x * 0.70710678F));
  } else if (name == "sigmoid") {
    for (float& x : values) x = 1 / (1 + std::exp(-x));
  } else if (name == "softmax") {
    const float top = *std::max_element(values.begin(), values.end());
    float sum = 0;
    for (float& x : values) sum += x = std::exp(x - top);
    for (float& x : values) x /= sum;
  }
}

std::vector<float> forward(const Layer& layer, const std::vector<float>& x) {
  std::vector<float> y(layer.bias.empty() ? std::vector<float>(static_cast<size_t>(layer.out))
                                          : layer.bias);
  const float* row = layer.weight.data();
  for (float& value : y) {
    // Four sums let the compiler keep the multiplier busy.
    float sums[4] = {};
    size_t i = 0;
    for (; i + 4 <= x.size(); i += 4)
      for (size_t k = 0; k < 4; ++k) sums[k] += row[i + k] * x[i + k];
    for (; i < x.size(); ++i) sums[0] += row[i] * x[i];
    value += sums[0] + sums[1] + sums[2] + sums[3];
    row += x.size();
  }
  activate(layer.activation, y);
  return y;
}

std::vector<float> values_of(const TensorView& view, const std::string& place) {
  const at::Tensor tensor = nn::to_tensor(view).to(at::kFloat).contiguous();
  if (!at::isfinite(tensor).all().item<bool>())
    throw DataError(place, "holds values that are not finite");
  return {tensor.data_ptr<float>(), tensor.data_ptr<float>() + tensor.numel()};
}

const TensorView& required(const TensorArchive& archive, const std::string& name) {
  if (const TensorView* view = archive.find(name)) return *view;
  std::vector<std::string> known;
  for (const auto& [key, view] : archive.tensors()) known.push_back(key);
  const std::string near = closest_name(name, known);
  throw DataError(archive.path().string(), "has no tensor '" + name + "'",
                  near.empty() ? "Check 'layers' in the card." : "Did you mean '" + near + "'?");
}

// "layers.0", "layers.3": everything that ends in "<number>.weight", by number.
std::vector<std::string> numbered_layers(const TensorArchive& archive) {
  std::map<int64_t, std::string> found;
  for (const auto& [key, view] : archive.tensors()) {
    if (!key.ends_with(".weight") || view.shape.size() != 2) continue;
    const std::string name = key.substr(0, key.size() - 7);
    const std::string digits =
        name.substr(name.rfind('.') == std::string::npos ? 0 : name.rfind('.') + 1);
    if (!digits.empty() && digits.size() < 6 &&
        digits.find_first_not_of("0123456789") == std::string::npos) {
      const auto [place, added] = found.emplace(std::stoll(digits), name);
      if (!added)
        throw DataError(
            archive.path().string(),
            "has two layers of number " + digits + ", '" + place->second + "' and '" + name + "'",
            "Name the layers in the card with 'layers'.");
    }
  }
  std::vector<std::string> names;
  for (const auto& [number, name] : found) names.push_back(name);
  if (names.empty())
    throw DataError(archive.path().string(), "has no numbered linear layers",
                    "Name them in the card with 'layers'.");
  return names;
}

// A tensor that nothing reads is a layer left out, e.g. a normalisation in between.
void require_all_used(const TensorArchive& archive, const std::vector<std::string>& layers,
                      const EmbeddingHeadCard& card) {
  std::set<std::string> used = {card.input_mean, card.input_variance};
  for (const auto& name : layers) used.insert({name + ".weight", name + ".bias"});
  for (const auto& [key, view] : archive.tensors())
    if (used.count(key) == 0)
      throw DataError(archive.path().string(), "holds tensor '" + key + "', which no layer uses",
                      "Heads are linear layers with activations; to leave a tensor out, name the "
                      "layers in the card with 'layers'.");
}

Layer read_layer(const TensorArchive& archive, const std::string& name, int64_t in) {
  const TensorView& weight = required(archive, name + ".weight");
  const std::string place = archive.path().string() + ": tensor '" + name + ".weight'";
  if (weight.shape.size() != 2 || (in > 0 && weight.shape[1] != in))
    throw DataError(place, "must be [out, " + (in > 0 ? std::to_string(in) : "in") + "]");
  Layer layer;
  layer.out = weight.shape[0];
  layer.in = weight.shape[1];
  layer.weight = values_of(weight, place);
  if (const TensorView* bias = archive.find(name + ".bias")) {
    if (bias->elements() != layer.out)
      throw DataError(archive.path().string() + ": tensor '" + name + ".bias'",
                      "must have " + std::to_string(layer.out) + " values");
    layer.bias = values_of(*bias, place);
  }
  return layer;
}

}  // namespace

struct EmbeddingHead::State {
  EmbeddingHeadCard card;
  std::string version;
  std::vector<Layer> layers;
  std::vector<float> mean, inverse_deviation;  // of the input; may be empty

  void read_prompts(const fs::path& file);
  void read_layers(const fs::path& file);
};

void EmbeddingHead::State::read_prompts(const fs::path& file) {
  NpyArray array = load_npy(file);
  if (array.shape.size() != 2 || array.shape[0] != static_cast<int64_t>(card.classes.size()) ||
      array.shape[1] < 1)
    throw DataError(file.string(),
                    "must be [" + std::to_string(card.classes.size()) + ", dim], a row per class");
  Layer layer;
  layer.out = array.shape[0];
  layer.in = array.shape[1];
  layer.activation = "softmax";
  layer.weight = std::move(array.values);
  for (int64_t row = 0; row < layer.out; ++row) {
    float* at = layer.weight.data() + row * layer.in;
    double square = 0;
    for (int64_t i = 0; i < layer.in; ++i) square += static_cast<double>(at[i]) * at[i];
    if (!std::isfinite(square) || square == 0)
      throw DataError(file.string(), "row " + std::to_string(row) + " is zero or not finite");
    const auto factor = static_cast<float>(card.temperature / std::sqrt(square));
    for (int64_t i = 0; i < layer.in; ++i) at[i] *= factor;
  }
  layers.push_back(std::move(layer));
}

void EmbeddingHead::State::read_layers(const fs::path& file) {
  const TensorArchive archive = TensorArchive::open(file);
  const auto names = card.layers.empty() ? numbered_layers(archive) : card.layers;
  if (card.layers.empty()) require_all_used(archive, names, card);
  if (!card.activations.empty() && card.activations.size() != names.size())
    throw DataError(file.string(), "has " + std::to_string(names.size()) +
                                       " layers, the card gives " +
                                       std::to_string(card.activations.size()) + " activations");
  int64_t width = 0;
  for (size_t i = 0; i < names.size(); ++i) {
    layers.push_back(read_layer(archive, names[i], width));
    width = layers.back().out;
    const bool last = i + 1 == names.size();
    layers.back().activation = !card.activations.empty() ? card.activations[i]
                               : !last                   ? "relu"
                               : width == 1              ? "sigmoid"
                                                         : "softmax";
  }
  if (width != static_cast<int64_t>(card.classes.size()))
    throw DataError(file.string(), "gives " + std::to_string(width) + " values, the card names " +
                                       std::to_string(card.classes.size()) + " classes");
  if (card.input_mean.empty()) return;
  mean = values_of(required(archive, card.input_mean), file.string());
  inverse_deviation = values_of(required(archive, card.input_variance), file.string());
  for (float& value : inverse_deviation) value = 1 / std::max(std::sqrt(value), 1e-7F);
  if (mean.size() != static_cast<size_t>(layers[0].in) || mean.size() != inverse_deviation.size())
    throw DataError(file.string(), "has a normalisation of another width than its first layer");
}

void EmbeddingHeadCard::visit(OptionList& list) {
  list.add("name", name, "of the signal");
  list.add("description", description, "what it was trained to see");
  list.add("license", license, "of the weights");
  list.add("modality", modality, "whose embedding it looks at", {"image", "text"});
  list.add("encoder", encoder, "the CLIP model it was trained on");
  list.add("weights", weights, "safetensors file with linear layers");
  list.add("prompts", prompts, ".npy file, a prompt embedding per class");
  list.add("temperature", temperature, "prompts: factor on the cosine before softmax");
  list.add("unit-input", unit_input, "embeddings are L2-normalised first");
  list.add("layers", layers, "names of the layers in order");
  list.add("activations", activations, "after each layer");
  list.add("input-mean", input_mean, "tensor of a normalisation before the first layer");
  list.add("input-variance", input_variance, "tensor of a normalisation before the first layer");
  list.add("classes", classes, "name of each output value");
  list.add("categories", categories, "category of each class; empty = not reported");
}

void EmbeddingHeadCard::validate(Problems& problems) const {
  problems.require(!name.empty(), "name", "is missing");
  problems.require(weights.empty() != prompts.empty(), "weights, prompts", "give one of them");
  problems.require(temperature > 0 && std::isfinite(temperature), "temperature", "must be > 0");
  for (const auto& activation : activations)
    problems.require(
        std::find(kActivations.begin(), kActivations.end(), activation) != kActivations.end(),
        "activations", "'" + activation + "' is not one of " + join(kActivations, ", "));
  problems.require(input_mean.empty() == input_variance.empty(), "input_mean, input_variance",
                   "go together");
  problems.require(!classes.empty(), "classes", "is missing: a name per output value");
  problems.require(categories.empty() || categories.size() == classes.size(), "categories",
                   "must have as many values as classes");
}

EmbeddingHead::EmbeddingHead(std::unique_ptr<State> state) : state_(std::move(state)) {}
EmbeddingHead::~EmbeddingHead() = default;

std::unique_ptr<EmbeddingHead> EmbeddingHead::load(const fs::path& card) {
  auto state = std::make_unique<State>();
  state->card = read_card<EmbeddingHeadCard>(card);
  const bool prompts = !state->card.prompts.empty();
  const fs::path file =
      resolve_card_path(card, prompts ? state->card.prompts : state->card.weights);
  if (prompts)
    state->read_prompts(file);
  else
    state->read_layers(file);
  state->version = sha256_hex(sha256_file(card) + sha256_file(file));
  return std::unique_ptr<EmbeddingHead>(new EmbeddingHead(std::move(state)));
}

const EmbeddingHeadCard& EmbeddingHead::card() const { return state_->card; }
int64_t EmbeddingHead::dim() const { return state_->layers[0].in; }
const std::string& EmbeddingHead::version() const { return state_->version; }

std::vector<ClassScore> EmbeddingHead::score(std::span<const float> embedding) const {
  const EmbeddingHeadCard& card = state_->card;
  if (static_cast<int64_t>(embedding.size()) != dim())
    throw UsageError(card.name + ": takes embeddings of " + std::to_string(dim()) +
                     " values, not " + std::to_string(embedding.size()) +
                     (card.encoder.empty() ? "" : "; it belongs to " + card.encoder));
  std::vector<float> x(embedding.begin(), embedding.end());
  double square = 0;
  for (const float value : x) square += static_cast<double>(value) * value;
  if (!std::isfinite(square)) throw DataError(card.name, "was given values that are not finite");
  if (card.unit_input && square > 0)
    for (float& value : x) value = static_cast<float>(value / std::sqrt(square));
  for (size_t i = 0; i < state_->mean.size(); ++i)
    x[i] = (x[i] - state_->mean[i]) * state_->inverse_deviation[i];
  for (const Layer& layer : state_->layers) x = forward(layer, x);
  std::vector<ClassScore> scores;
  for (size_t k = 0; k < x.size(); ++k) {
    if (!std::isfinite(x[k])) throw DataError(card.name, "gave a score that is not finite");
    scores.push_back({card.classes[k], card.categories[k], std::clamp(x[k], 0.0F, 1.0F)});
  }
  return scores;
}

}  // namespace parapet
