#include "parapet/models/clip/compact_clip.h"

#include <ATen/ATen.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/nn/checkpoint.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTokens = "text_model.embeddings.token_embedding.weight";
constexpr const char* kRows = "token_rows";
constexpr const char* kScale = ".scale";
constexpr double kLevels = 127;
constexpr int64_t kSmallest = 4096;  // tensors with fewer elements are not worth rounding
constexpr double kSameRow = 1e-5;    // relative to the largest weight of the table

bool is_rounded(const std::string& name, const at::Tensor& value) {
  return value.dim() >= 2 && value.numel() >= kSmallest &&
         !name.ends_with("position_embedding.weight");
}

void round_rows(const std::string& name, const at::Tensor& value, nn::NamedTensors& out) {
  const at::Tensor rows = value.reshape({value.size(0), -1});
  const at::Tensor scale = rows.abs().amax(1, true).clamp_min(1e-30).div(kLevels);
  out.emplace_back(name, rows.div(scale).round_().to(at::kChar).view(value.sizes()));
  out.emplace_back(name + kScale, scale.squeeze(1).contiguous());
}

at::Tensor initial_tokens(const ClipConfig& config, uint64_t seed) {
  ClipModel model = ClipModel::random(config, seed);
  for (auto& [name, tensor] : nn::named_parameters(model))
    if (name == kTokens) return tensor;
  throw Error(ErrorKind::kInternal, "compact CLIP: the model has no token table");
}

// Ascending indices of the rows that differ from `decay` times their initial value.
at::Tensor changed_rows(const at::Tensor& tokens, const at::Tensor& initial, double decay) {
  const double limit = tokens.abs().max().item<double>() * kSameRow;
  return (tokens - initial * decay).abs().amax(1).gt(limit).nonzero().squeeze(1);
}

// The common factor: most rows of a large vocabulary were used by no text of training.
double token_decay(const at::Tensor& tokens, const at::Tensor& initial) {
  const at::Tensor ratio = (tokens * initial).sum(1) / initial.square().sum(1);
  return ratio.to(at::kDouble).median().item<double>();
}

template <class Number>
Number number_of(const TensorArchive& archive, const std::string& key) {
  const auto found = archive.metadata().find(key);
  Number value{};
  if (found != archive.metadata().end()) {
    const std::string& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc{} && end == text.data() + text.size()) return value;
  }
  throw DataError(archive.path().string(), "metadata '" + key + "' is missing or no number",
                  "The file is not one that `parapet world clip --pack` wrote.");
}

std::string shortest(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

// The token table: initial rows, decayed, with the stored ones in place.
at::Tensor restored_tokens(const ClipConfig& config, const TensorArchive& archive) {
  const TensorView* rows = archive.find(kRows);
  const TensorView* stored = archive.find(kTokens);
  const std::string source = archive.path().string();
  const auto problem = [&](const std::string& what) { return DataError(source, what); };
  if (rows == nullptr || stored == nullptr)
    throw problem(std::string("lacks '") + kRows + "' or '" + kTokens + "'");
  if (rows->dtype != DType::kI64 || rows->shape.size() != 1 || stored->dtype != DType::kF32 ||
      stored->shape != std::vector<int64_t>{rows->shape[0], config.text.hidden_size})
    throw problem(std::string("'") + kRows + "' and '" + kTokens + "' do not fit each other");
  const at::Tensor index = nn::to_tensor(*rows);
  if (index.numel() > 0 &&
      (index.min().item<int64_t>() < 0 || index.max().item<int64_t>() >= config.text.vocab_size))
    throw problem(std::string("'") + kRows + "' has a row outside the vocabulary");
  at::Tensor tokens = initial_tokens(config, number_of<uint64_t>(archive, "seed"));
  tokens.mul_(number_of<double>(archive, "token_decay"));
  return tokens.index_copy_(0, index, nn::to_tensor(*stored));
}

}  // namespace

CompactClipInfo save_compact_clip(ClipModel& model, uint64_t seed, const fs::path& file) {
  if (model.config().kind != ClipKind::kFull)
    throw UsageError("compact CLIP: the model must have both towers and their projections");
  CompactClipInfo info;
  nn::NamedTensors out;
  for (const auto& [name, tensor] : nn::named_parameters(model)) {
    const at::Tensor value = tensor.detach().to(at::kCPU, at::kFloat);
    if (name == kTokens) {
      const at::Tensor initial = initial_tokens(model.config(), seed);
      info.token_decay = token_decay(value, initial);
      const at::Tensor rows = changed_rows(value, initial, info.token_decay);
      info.token_rows = rows.size(0);
      if (info.token_rows == value.size(0))
        throw UsageError("compact CLIP: no token row is as seed " + std::to_string(seed) +
                         " drew it; give the seed that the model was trained from");
      out.emplace_back(kRows, rows);
      out.emplace_back(name, value.index_select(0, rows));
    } else if (is_rounded(name, value)) {
      round_rows(name, value, out);
    } else {
      out.emplace_back(name, value);
    }
  }
  nn::save_tensors(file, out,
                   {{"config", model.config().to_json().dump()},
                    {"seed", std::to_string(seed)},
                    {"token_decay", shortest(info.token_decay)}});
  info.bytes = static_cast<int64_t>(fs::file_size(file));
  return info;
}

ClipModel load_compact_clip(const fs::path& file) {
  const TensorArchive archive = TensorArchive::open(file, "model", TensorStorage::kCopied);
  const std::string source = archive.path().string();
  const auto described = archive.metadata().find("config");
  if (described == archive.metadata().end())
    throw DataError(source, "metadata 'config' is missing",
                    "The file is not one that `parapet world clip --pack` wrote.");
  const ClipConfig config = ClipConfig::parse(parse_json(described->second, source), source);
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, view] : archive.tensors()) {
    if (name == kRows || name == kTokens || name.ends_with(kScale)) continue;
    tensors[name] = nn::to_tensor(view);
    if (view.dtype != DType::kI8) continue;
    const TensorView* scale = archive.find(name + kScale);
    if (scale == nullptr || view.shape.empty() ||
        scale->shape != std::vector<int64_t>{view.shape[0]})
      throw DataError(source, "tensor '" + name + "' has no fitting '" + name + kScale + "'");
    std::vector<int64_t> column(view.shape.size(), 1);
    column[0] = view.shape[0];
    tensors[name] = tensors[name].to(at::kFloat).mul_(nn::to_tensor(*scale).view(column));
  }
  tensors[kTokens] = restored_tokens(config, archive);
  ClipModel model(config);
  nn::adopt_parameters(model, std::move(tensors), source, {});
  return model;
}

}  // namespace parapet
