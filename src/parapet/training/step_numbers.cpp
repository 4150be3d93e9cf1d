#include "parapet/training/step_numbers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "parapet/training/rank_state.h"

namespace parapet {
namespace {

// As text with all its digits: JSON has no number that is not finite.
std::string exactly(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

}  // namespace

void StepNumbers::add(const StepLoss& part) {
  samples_ += static_cast<double>(part.samples);
  if (part.weight == 0) return;
  weight_ += part.weight;
  const at::NoGradGuard no_grad;
  const auto weighted = [&](const at::Tensor& value) {
    const at::Tensor wide = value.detach().to(at::kDouble);
    return part.weight == 1 ? wide : wide * part.weight;
  };
  loss_ = loss_.defined() ? loss_ + weighted(part.total) : weighted(part.total);
  for (const LossTerm& term : part.terms) {
    auto known = std::find_if(terms_.begin(), terms_.end(),
                              [&](const Term& t) { return t.name == term.name; });
    if (known == terms_.end()) {
      terms_.push_back({term.name, weighted(term.value), part.weight});
    } else {
      known->sum = known->sum + weighted(term.value);
      known->weight += part.weight;
    }
  }
}

std::vector<std::pair<std::string, double>> StepNumbers::terms(Communicator& communicator) const {
  std::vector<std::pair<std::string, double>> list;
  std::vector<double> weights;
  if (!terms_.empty()) {
    std::vector<at::Tensor> sums;
    for (const Term& term : terms_) sums.push_back(term.sum.reshape({}));
    const at::Tensor read = at::stack(sums).to(at::kCPU);
    for (size_t i = 0; i < terms_.size(); ++i) {
      list.emplace_back(terms_[i].name, read[static_cast<int64_t>(i)].item<double>());
      weights.push_back(terms_[i].weight);
    }
  }
  if (communicator.world_size() > 1) {
    auto own = nlohmann::json::array();
    for (size_t i = 0; i < list.size(); ++i)
      own.push_back({list[i].first, exactly(list[i].second), weights[i]});
    list.clear();
    weights.clear();
    for (const auto& rank : gather_json(communicator, own))
      for (const auto& row : rank) {
        const auto name = row.at(0).get<std::string>();
        const auto known = std::find_if(list.begin(), list.end(),
                                        [&](const auto& entry) { return entry.first == name; });
        const auto at = static_cast<size_t>(known - list.begin());
        if (known == list.end()) {
          list.emplace_back(name, 0.0);
          weights.push_back(0);
        }
        list[at].second += std::stod(row.at(1).get<std::string>());
        weights[at] += row.at(2).get<double>();
      }
  }
  for (size_t i = 0; i < list.size(); ++i)
    if (weights[i] != 0) list[i].second /= weights[i];
  return list;
}

}  // namespace parapet
