#include "parapet/methods/guard_heads/filter_data.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "parapet/core/strings.h"
#include "parapet/data/sources/compose.h"
#include "parapet/data/sources/order.h"

namespace parapet {
namespace {

std::string attribute(const LabelSample& sample, const std::string& name) {
  const auto it = sample.attributes.find(name);
  return it == sample.attributes.end() ? std::string() : it->second;
}

// The control of implicit-in-sides: what the pair is called, asked of each side alone.
void ask_sides_for_pair(GuardTargets& targets) {
  for (const size_t side : {size_t{0}, size_t{1}}) {
    if (targets.harm[2] < 0) continue;
    targets.harm[side] = targets.harm[2];
    targets.categories[side] = targets.categories[2];
  }
}

// Verdicts on the pair by grade for one sample: categories, then any harm.
struct GradedPair {
  std::vector<float> by_explicit, by_implicit;
  GradedPair(const LabelSample& sample, const GuardTargets& targets,
             const std::vector<std::string>& categories) {
    float any_explicit = 0, any_implicit = 0;
    for (size_t c = 0; c < categories.size(); ++c) {
      const auto it = sample.labels.find(categories[c]);
      const bool is_implicit = it != sample.labels.end() && it->second == "implicit";
      const auto pair = static_cast<float>(targets.categories[2][c]);
      const bool is_explicit = pair == 1 && !is_implicit;
      by_explicit.push_back(pair < 0 ? -1.0f : is_explicit ? 1.0f : 0.0f);
      by_implicit.push_back(pair < 0 || is_explicit ? -1.0f : is_implicit ? 1.0f : 0.0f);
      any_explicit = std::max(any_explicit, by_explicit.back());
      any_implicit = std::max(any_implicit, by_implicit.back());
    }
    const bool known = targets.harm[2] >= 0;
    by_explicit.push_back(known ? any_explicit : -1.0f);
    by_implicit.push_back(!known || (any_explicit == 1 && any_implicit == 0) ? -1.0f
                                                                             : any_implicit);
  }
};

FilterTargets target_tensors(const std::vector<LabelSample>& samples,
                             const std::vector<std::string>& categories, bool implicit_in_sides) {
  const auto n = static_cast<int64_t>(samples.size());
  const auto width = static_cast<int64_t>(categories.size()) + 1;
  FilterTargets out;
  std::array<float*, 3> harm{};
  for (size_t side = 0; side < 3; ++side) {
    out.harm[side] = at::empty({n, width}, at::kFloat);
    harm[side] = out.harm[side].data_ptr<float>();
  }
  out.explicit_pair = at::empty({n, width}, at::kFloat);
  out.implicit_pair = at::empty({n, width}, at::kFloat);
  float* explicit_row = out.explicit_pair.data_ptr<float>();
  float* implicit_row = out.implicit_pair.data_ptr<float>();
  out.contradiction = at::empty({n}, at::kFloat);
  for (int64_t i = 0; i < n; ++i) {
    GuardTargets targets = guard_targets(samples[i], categories);
    const GradedPair graded(samples[i], targets, categories);
    explicit_row = std::copy(graded.by_explicit.begin(), graded.by_explicit.end(), explicit_row);
    implicit_row = std::copy(graded.by_implicit.begin(), graded.by_implicit.end(), implicit_row);
    if (implicit_in_sides) ask_sides_for_pair(targets);
    for (size_t side = 0; side < 3; ++side) {
      for (const int8_t value : targets.categories[side]) *harm[side]++ = value;
      *harm[side]++ = targets.harm[side];
    }
    out.contradiction[i] = static_cast<float>(targets.contradiction);
  }
  out.weight = at::ones({n});
  out.group = at::full({n}, -1, at::kLong);
  return out;
}

// harm of the pair (or of the only side) x values of the balanced attributes.
std::string cell_of(const LabelSample& sample, const std::vector<std::string>& by) {
  bool harmful = false;
  for (const auto& [category, grade] : sample.labels)
    harmful |= grade == "explicit" || grade == "implicit";
  std::string cell = harmful ? "harmful" : "benign";
  for (const auto& name : by) cell += ", " + name + "=" + attribute(sample, name);
  return cell;
}

// Weight of each sample that gives every cell the same total; mean 1.
std::vector<double> cell_weights(const std::vector<LabelSample>& samples,
                                 const std::vector<std::string>& by) {
  std::map<std::string, double> sizes;
  for (const auto& sample : samples) sizes[cell_of(sample, by)] += 1;
  std::vector<double> weights;
  const auto n = static_cast<double>(samples.size());
  for (const auto& sample : samples)
    weights.push_back(n / static_cast<double>(sizes.size()) / sizes[cell_of(sample, by)]);
  return weights;
}

void set_groups(FilterSet& set, const std::string& group) {
  if (group.empty()) return;
  std::map<std::string, int64_t> index;
  for (const auto& sample : set.samples) index.emplace(attribute(sample, group), 0);
  index.erase("");
  for (auto& [name, number] : index) {
    number = static_cast<int64_t>(set.group_names.size());
    set.group_names.push_back(name);
  }
  for (int64_t i = 0; i < set.size(); ++i) {
    const auto it = index.find(attribute(set.samples[i], group));
    if (it != index.end()) set.targets.group[i] = it->second;
  }
}

}  // namespace

FilterTargets FilterTargets::map(const std::function<at::Tensor(const at::Tensor&)>& change) const {
  FilterTargets out;
  for (size_t side = 0; side < 3; ++side) out.harm[side] = change(harm[side]);
  out.explicit_pair = change(explicit_pair);
  out.implicit_pair = change(implicit_pair);
  out.contradiction = change(contradiction);
  out.weight = change(weight);
  out.group = change(group);
  return out;
}

FilterTargets FilterTargets::select(const at::Tensor& rows) const {
  return map([&](const at::Tensor& x) { return x.index_select(0, rows); });
}

FilterTargets FilterTargets::on(at::Device device) const {
  return map([&](const at::Tensor& x) { return x.to(device); });
}

std::vector<at::Tensor*> FilterTargets::tensors() {
  return {&harm[0],       &harm[1],       &harm[2], &explicit_pair,
          &implicit_pair, &contradiction, &weight,  &group};
}

FilterSet make_filter_set(std::vector<LabelSample> samples, std::vector<std::string> categories,
                          const FilterOptions& options, bool balance) {
  FilterSet set;
  set.samples = std::move(samples);
  set.categories = std::move(categories);
  set.targets = target_tensors(set.samples, set.categories, options.loss.implicit_in_sides);
  set_groups(set, options.bias.group);
  if (!balance || options.bias.balance == "none") return set;
  std::vector<double> weights = cell_weights(set.samples, options.bias.balance_by);
  if (options.bias.balance == "resample") {
    set.draw_weights = std::move(weights);
    std::partial_sum(set.draw_weights.begin(), set.draw_weights.end(),
                     std::back_inserter(set.draw_sums));
  } else {
    set.targets.weight = at::tensor(weights, at::kFloat);
  }
  return set;
}

SourcePtr<FilterRows> filter_rows(const FilterSet& set, uint64_t seed, int64_t size, int64_t rank,
                                  int64_t ranks) {
  const int64_t n = set.size();
  if (set.draw_sums.empty()) {
    auto draws = batch(shuffled_draws(n, seed, "guard"), size);
    return map<std::vector<Draw>, FilterRows>(shard_by_rank(std::move(draws), rank, ranks),
                                              [size](std::vector<Draw> drawn) {
                                                FilterRows out;
                                                out.index = drawn.front().number / size;
                                                for (const Draw& draw : drawn)
                                                  out.rows.push_back(draw.row);
                                                return out;
                                              });
  }
  return map<int64_t, FilterRows>(shard_by_rank(numbers_from(0), rank, ranks), [&set, seed, size,
                                                                                n](int64_t index) {
    const std::vector<double>& sums = set.draw_sums;
    Random random = Random::named(seed, "guard.batch." + std::to_string(index));
    FilterRows out{index, {}};
    for (int64_t i = 0; i < size; ++i) {
      const auto it = std::upper_bound(sums.begin(), sums.end(), random.uniform() * sums.back());
      out.rows.push_back(std::min<int64_t>(n - 1, it - sums.begin()));
    }
    return out;
  });
}

std::vector<std::string> balance_table(const FilterSet& set, const BiasOptions& options) {
  std::map<std::string, std::pair<int64_t, double>> cells;
  double total = 0;
  for (int64_t i = 0; i < set.size(); ++i) {
    auto& [count, share] = cells[cell_of(set.samples[i], options.balance_by)];
    const double weight = set.draw_weights.empty() ? set.targets.weight[i].item<double>()
                                                   : set.draw_weights[static_cast<size_t>(i)];
    ++count;
    share += weight;
    total += weight;
  }
  std::vector<std::string> lines;
  for (const auto& [name, cell] : cells)
    lines.push_back(name + ": " + std::to_string(cell.first) + " samples, " +
                    format_number(100 * cell.second / total, 1) + " % of training");
  return lines;
}

}  // namespace parapet
