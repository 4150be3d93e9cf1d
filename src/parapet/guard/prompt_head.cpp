#include "parapet/guard/prompt_head.h"

#include <algorithm>
#include <cmath>

#include "parapet/core/error.h"

namespace parapet::guard {
namespace {

constexpr size_t kMaxExamples = 500;

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Log of the mean of exp(temperature * cosine).
double log_mean_exp(const std::vector<Embedding>& prompts, std::span<const float> embedding,
                    double temperature) {
  std::vector<double> logits;
  for (const Embedding& prompt : prompts) logits.push_back(temperature * dot(prompt, embedding));
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const double logit : logits) sum += std::exp(logit - top);
  return top + std::log(sum / static_cast<double>(logits.size()));
}

using Matrix = std::vector<std::vector<double>>;

// Inverse of a symmetric positive definite matrix by Cholesky.
Matrix inverse(Matrix a) {
  const size_t n = a.size();
  for (size_t j = 0; j < n; ++j) {
    for (size_t k = 0; k < j; ++k) a[j][j] -= a[j][k] * a[j][k];
    a[j][j] = std::sqrt(std::max(a[j][j], 1e-12));
    for (size_t i = j + 1; i < n; ++i) {
      for (size_t k = 0; k < j; ++k) a[i][j] -= a[i][k] * a[j][k];
      a[i][j] /= a[j][j];
    }
  }
  Matrix result(n, std::vector<double>(n, 0));
  for (size_t column = 0; column < n; ++column) {
    std::vector<double> x(n, 0);
    x[column] = 1;
    for (size_t i = 0; i < n; ++i) {
      for (size_t k = 0; k < i; ++k) x[i] -= a[i][k] * x[k];
      x[i] /= a[i][i];
    }
    for (size_t i = n; i-- > 0;) {
      for (size_t k = i + 1; k < n; ++k) x[i] -= a[k][i] * x[k];
      x[i] /= a[i][i];
    }
    for (size_t i = 0; i < n; ++i) result[i][column] = x[i];
  }
  return result;
}

// Sigmoid(scale * x + shift) nearest to the classes; Newton with Platt's softened targets.
void fit_sigmoid(const std::vector<double>& x, const std::vector<int>& y, double& scale,
                 double& shift) {
  const auto positive = static_cast<double>(std::count(y.begin(), y.end(), 1));
  const double negative = static_cast<double>(y.size()) - positive;
  const double high = (positive + 1) / (positive + 2), low = 1 / (negative + 2);
  scale = 4;
  shift = 0;
  for (int step = 0; step < 100; ++step) {
    double g0 = 0, g1 = 0, h00 = 1e-6, h01 = 0, h11 = 1e-6;
    for (size_t i = 0; i < x.size(); ++i) {
      const double p = sigmoid(scale * x[i] + shift);
      const double error = p - (y[i] == 1 ? high : low);
      const double weight = p * (1 - p) + 1e-9;
      g0 += error * x[i];
      g1 += error;
      h00 += weight * x[i] * x[i];
      h01 += weight * x[i];
      h11 += weight;
    }
    const double determinant = h00 * h11 - h01 * h01;
    const double move0 = std::clamp((h11 * g0 - h01 * g1) / determinant, -5.0, 5.0);
    const double move1 = std::clamp((h00 * g1 - h01 * g0) / determinant, -5.0, 5.0);
    scale -= move0;
    shift -= move1;
    if (std::abs(move0) + std::abs(move1) < 1e-9) break;
  }
  // Examples that do not separate must not turn the score round.
  scale = std::clamp(scale, 0.1, 100.0);
}

}  // namespace

PromptHead::PromptHead(std::vector<Embedding> prompts, std::vector<Embedding> neutral,
                       double temperature)
    : prompts_(std::move(prompts)), neutral_(std::move(neutral)), temperature_(temperature) {
  if (prompts_.empty() || neutral_.empty())
    throw UsageError("a zero-shot category needs prompts and neutral prompts");
}

double PromptHead::score(std::span<const float> embedding) const {
  return sigmoid(log_mean_exp(prompts_, embedding, temperature_) -
                 log_mean_exp(neutral_, embedding, temperature_));
}

FewShotHead::FewShotHead(const std::vector<Embedding>& harmful,
                         const std::vector<Embedding>& benign, double ridge) {
  const size_t n = harmful.size() + benign.size();
  if (harmful.size() < 2 || benign.size() < 2 || n > kMaxExamples)
    throw UsageError("a category from examples needs at least 2 of each kind and at most " +
                     std::to_string(kMaxExamples) + " in all; given " +
                     std::to_string(harmful.size()) + " and " + std::to_string(benign.size()));
  const size_t width = harmful[0].size();
  std::vector<double> centre(width, 0);
  std::vector<const Embedding*> rows;
  std::vector<int> classes;
  for (const auto* side : {&harmful, &benign})
    for (const Embedding& row : *side) {
      rows.push_back(&row);
      classes.push_back(side == &harmful ? 1 : -1);
      for (size_t k = 0; k < width; ++k)
        centre[k] += row[k] / 2.0 / static_cast<double>(side->size());
    }
  const auto centred = [&](size_t i, size_t k) { return (*rows[i])[k] - centre[k]; };
  Matrix kernel(n, std::vector<double>(n, 0));
  for (size_t i = 0; i < n; ++i)
    for (size_t j = 0; j <= i; ++j) {
      double sum = 0;
      for (size_t k = 0; k < width; ++k) sum += centred(i, k) * centred(j, k);
      kernel[i][j] = kernel[j][i] = sum;
    }
  for (size_t i = 0; i < n; ++i) {
    const size_t own = classes[i] == 1 ? harmful.size() : benign.size();
    kernel[i][i] += ridge * 2 * static_cast<double>(own) / static_cast<double>(n);
  }
  const Matrix inverted = inverse(std::move(kernel));
  weights_.assign(width, 0);
  std::vector<double> left_out(n);
  for (size_t i = 0; i < n; ++i) {
    double alpha = 0;
    for (size_t j = 0; j < n; ++j) alpha += inverted[i][j] * classes[j];
    left_out[i] = classes[i] - alpha / inverted[i][i];
    for (size_t k = 0; k < width; ++k) weights_[k] += alpha * centred(i, k);
  }
  for (size_t k = 0; k < width; ++k) offset_ += weights_[k] * centre[k];
  fit_sigmoid(left_out, classes, scale_, shift_);
  size_t right = 0;
  for (size_t i = 0; i < n; ++i)
    right += (sigmoid(scale_ * left_out[i] + shift_) >= 0.5) == (classes[i] == 1);
  accuracy_ = static_cast<double>(right) / static_cast<double>(n);
}

double FewShotHead::score(std::span<const float> embedding) const {
  double sum = -offset_;
  for (size_t k = 0; k < weights_.size(); ++k) sum += weights_[k] * embedding[k];
  return sigmoid(scale_ * sum + shift_);
}

}  // namespace parapet::guard
