#include "parapet/methods/guard_heads/few_shot.h"

#include <cmath>

#include "parapet/core/error.h"

namespace parapet {
namespace {

constexpr size_t kMaxRows = 4096, kLeaveOneOut = 200;
using Matrix = std::vector<double>;  // row-major, square

// Solves a symmetric positive definite system in place by Cholesky.
std::vector<double> solve(Matrix a, std::vector<double> b) {
  const size_t n = b.size();
  for (size_t j = 0; j < n; ++j) {
    for (size_t k = 0; k < j; ++k)
      for (size_t i = j; i < n; ++i) a[i * n + j] -= a[i * n + k] * a[j * n + k];
    const double root = std::sqrt(std::max(a[j * n + j], 1e-12));
    for (size_t i = j; i < n; ++i) a[i * n + j] /= root;
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < i; ++k) b[i] -= a[i * n + k] * b[k];
    b[i] /= a[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t k = i + 1; k < n; ++k) b[i] -= a[k * n + i] * b[k];
    b[i] /= a[i * n + i];
  }
  return b;
}

// A linear function of the embedding whose scale is not yet a logit's.
struct Direction {
  std::vector<double> weight;
  double offset = 0;
  double at(const float* row) const {
    double sum = -offset;
    for (size_t c = 0; c < weight.size(); ++c) sum += weight[c] * row[c];
    return sum;
  }
};

class Fit {
 public:
  Fit(std::span<const float> rows, std::span<const uint8_t> labels, size_t dim,
      const FewShotOptions& options)
      : rows_(rows), labels_(labels), dim_(dim), options_(options) {}

  // Without example `left_out` (none when it is out of range).
  Direction direction(size_t left_out) const {
    std::vector<size_t> kept;
    for (size_t i = 0; i < labels_.size(); ++i)
      if (i != left_out) kept.push_back(i);
    std::vector<double> means[2];
    double sizes[2];
    class_means(kept, means, sizes);
    Direction out = options_.kind == FewShotOptions::Kind::kRidge ? ridge(kept, means, sizes)
                                                                  : discriminant(kept, means);
    for (size_t c = 0; c < dim_; ++c) out.offset += out.weight[c] * (means[0][c] + means[1][c]) / 2;
    return out;
  }

  const float* row(size_t i) const { return rows_.data() + i * dim_; }

 private:
  void class_means(const std::vector<size_t>& kept, std::vector<double> (&means)[2],
                   double (&sizes)[2]) const {
    for (int label : {0, 1}) means[label].assign(dim_, 0), sizes[label] = 0;
    for (const size_t i : kept) {
      const int label = labels_[i] != 0;
      sizes[label] += 1;
      for (size_t c = 0; c < dim_; ++c) means[label][c] += row(i)[c];
    }
    for (int label : {0, 1})
      for (double& value : means[label]) value /= std::max(sizes[label], 1.0);
  }

  // Rows minus `centre(label)`, and their Gram matrix.
  template <class Centre>
  std::vector<double> centred(const std::vector<size_t>& kept, const Centre& centre) const {
    std::vector<double> out;
    out.reserve(kept.size() * dim_);
    for (const size_t i : kept)
      for (size_t c = 0; c < dim_; ++c) out.push_back(row(i)[c] - centre(labels_[i] != 0, c));
    return out;
  }

  Matrix gram(const std::vector<double>& z, size_t n) const {
    Matrix g(n * n);
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j <= i; ++j) {
        double sum = 0;
        for (size_t c = 0; c < dim_; ++c) sum += z[i * dim_ + c] * z[j * dim_ + c];
        g[i * n + j] = g[j * n + i] = sum;
      }
    return g;
  }

  // Dual form: weight = Z^T (Z Z^T + strength n D^-1)^-1 y, D the balancing weights, mean 1.
  Direction ridge(const std::vector<size_t>& kept, const std::vector<double> (&means)[2],
                  const double (&sizes)[2]) const {
    const size_t n = kept.size();
    const auto z = centred(kept, [&](bool, size_t c) { return (means[0][c] + means[1][c]) / 2; });
    Matrix system = gram(z, n);
    std::vector<double> target;
    for (size_t i = 0; i < n; ++i) {
      const int label = labels_[kept[i]] != 0;
      const double balance = static_cast<double>(n) / (2 * sizes[label]);
      system[i * n + i] += options_.strength / balance;
      target.push_back(label ? 1 : -1);
    }
    const std::vector<double> dual = solve(std::move(system), std::move(target));
    Direction out{std::vector<double>(dim_), 0};
    for (size_t i = 0; i < n; ++i)
      for (size_t c = 0; c < dim_; ++c) out.weight[c] += dual[i] * z[i * dim_ + c];
    return out;
  }

  // weight = ((1 - s) S + s v I)^-1 (m1 - m0), S the within-class covariance, v its mean variance;
  // inverted through the n x n Gram matrix (Woodbury).
  Direction discriminant(const std::vector<size_t>& kept,
                         const std::vector<double> (&means)[2]) const {
    const size_t n = kept.size();
    const auto z = centred(kept, [&](bool label, size_t c) { return means[label ? 1 : 0][c]; });
    const Matrix g = gram(z, n);
    double trace = 0;
    for (size_t i = 0; i < n; ++i) trace += g[i * n + i];
    const double freedom = std::max(1.0, static_cast<double>(n) - 2);
    const double variance = std::max(trace / freedom / static_cast<double>(dim_), 1e-9);
    const double share = (1 - options_.strength) / freedom, floor = options_.strength * variance;
    std::vector<double> difference(dim_), projected(n);
    for (size_t c = 0; c < dim_; ++c) difference[c] = means[1][c] - means[0][c];
    for (size_t i = 0; i < n; ++i)
      for (size_t c = 0; c < dim_; ++c) projected[i] += z[i * dim_ + c] * difference[c];
    Matrix system = g;
    for (double& value : system) value *= share / floor;
    for (size_t i = 0; i < n; ++i) system[i * n + i] += 1;
    const std::vector<double> dual = solve(std::move(system), std::move(projected));
    Direction out{std::vector<double>(dim_), 0};
    for (size_t c = 0; c < dim_; ++c) out.weight[c] = difference[c] / floor;
    for (size_t i = 0; i < n; ++i)
      for (size_t c = 0; c < dim_; ++c)
        out.weight[c] -= dual[i] * z[i * dim_ + c] * share / (floor * floor);
    return out;
  }

  std::span<const float> rows_;
  std::span<const uint8_t> labels_;
  size_t dim_;
  FewShotOptions options_;
};

}  // namespace

double FewShotHead::logit(std::span<const float> embedding) const {
  if (embedding.size() != weight.size())
    throw UsageError("few-shot head: the embedding has another width than the examples");
  double sum = bias;
  for (size_t c = 0; c < weight.size(); ++c) sum += static_cast<double>(weight[c]) * embedding[c];
  return sum;
}

double FewShotHead::score(std::span<const float> embedding) const {
  return 1 / (1 + std::exp(-logit(embedding)));
}

FewShotHead fit_few_shot(std::span<const float> rows, std::span<const uint8_t> labels, int64_t dim,
                         const FewShotOptions& options) {
  const size_t n = labels.size(), width = static_cast<size_t>(std::max<int64_t>(dim, 0));
  size_t harmful = 0;
  for (const uint8_t label : labels) harmful += label != 0;
  if (width == 0 || rows.size() != n * width || n > kMaxRows)
    throw UsageError("few-shot head: give n x dim numbers for n labels, n at most 4096");
  if (harmful < 2 || n - harmful < 2)
    throw UsageError("few-shot head: at least two examples of each class are needed");
  if (!(options.strength > 0) ||
      (options.kind == FewShotOptions::Kind::kLda && options.strength > 1))
    throw UsageError("few-shot head: strength must be > 0, at most 1 for LDA");
  const Fit fit(rows, labels, width, options);
  const Direction whole = fit.direction(n);
  // Margins of examples that the fit has not seen, relative to the whole fit's.
  double sum[2] = {0, 0}, squares[2] = {0, 0};
  for (size_t i = 0; i < n; ++i) {
    const double margin =
        n <= kLeaveOneOut ? fit.direction(i).at(fit.row(i)) : whole.at(fit.row(i));
    sum[labels[i] != 0] += margin;
    squares[labels[i] != 0] += margin * margin;
  }
  const double sizes[2] = {static_cast<double>(n - harmful), static_cast<double>(harmful)};
  const double low = sum[0] / sizes[0], high = sum[1] / sizes[1];
  const double within = squares[0] - sizes[0] * low * low + squares[1] - sizes[1] * high * high;
  const double variance = std::max(within / (static_cast<double>(n) - 2), 1e-9);
  // Log-odds of two normals; examples left out may say that nothing was learnt.
  const double slope = std::max((high - low) / variance, 1e-3);
  FewShotHead head;
  for (const double value : whole.weight) head.weight.push_back(static_cast<float>(slope * value));
  head.bias = -slope * (whole.offset + (low + high) / 2);
  return head;
}

}  // namespace parapet
