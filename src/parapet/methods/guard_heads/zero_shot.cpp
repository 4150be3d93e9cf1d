#include "parapet/methods/guard_heads/zero_shot.h"

#include <cmath>

#include "parapet/core/error.h"

namespace parapet {
namespace {

std::vector<float> ensemble(std::span<const float> rows, int64_t dim, const char* what) {
  const auto width = static_cast<size_t>(dim);
  if (dim < 1 || rows.empty() || rows.size() % width != 0)
    throw UsageError(std::string("zero-shot category: the ") + what +
                     " prompts must be rows of the model's width, at least one");
  std::vector<double> sum(width);
  for (size_t i = 0; i < rows.size(); ++i) sum[i % width] += rows[i];
  double norm = 0;
  for (const double value : sum) norm += value * value;
  norm = std::sqrt(norm);
  if (!(norm > 0))
    throw UsageError(std::string("zero-shot category: the ") + what +
                     " prompts cancel out or are not finite");
  std::vector<float> mean;
  for (const double value : sum) mean.push_back(static_cast<float>(value / norm));
  return mean;
}

}  // namespace

ZeroShotCategory::ZeroShotCategory(std::string name, std::span<const float> harmful,
                                   std::span<const float> neutral, int64_t dim, double scale)
    : name_(std::move(name)), direction_(ensemble(harmful, dim, "harmful")), scale_(scale) {
  const std::vector<float> other = ensemble(neutral, dim, "neutral");
  for (size_t i = 0; i < other.size(); ++i) direction_[i] -= other[i];
}

double ZeroShotCategory::score(std::span<const float> embedding) const {
  if (embedding.size() != direction_.size())
    throw UsageError("zero-shot category: the embedding has another width than the prompts");
  double dot = 0;
  for (size_t i = 0; i < embedding.size(); ++i)
    dot += static_cast<double>(embedding[i]) * direction_[i];
  return 1 / (1 + std::exp(-scale_ * dot));
}

std::vector<std::string> category_prompts(const std::vector<std::string>& descriptions,
                                          const std::vector<std::string>& templates) {
  std::vector<std::string> prompts;
  for (const auto& pattern : templates) {
    const size_t at = pattern.find("{}");
    if (at == std::string::npos) throw UsageError("prompt template '" + pattern + "' lacks {}");
    for (const auto& description : descriptions)
      prompts.push_back(std::string(pattern).replace(at, 2, description));
  }
  return prompts;
}

}  // namespace parapet
