#include "parapet/nn/tensor_map.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <stdexcept>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"

namespace parapet::nn {
namespace {

using Captures = std::vector<std::string>;

// A tensor whose shape does not allow its rule; becomes a line of `problems`.
struct Unfit : std::runtime_error {
  using std::runtime_error::runtime_error;
};

bool match_from(std::string_view pattern, std::string_view name, Captures& captures) {
  const size_t at = pattern.find_first_of("{*");
  if (at == std::string_view::npos) return pattern == name;
  if (name.substr(0, at) != pattern.substr(0, at)) return false;
  const bool part = pattern[at] == '{';
  const std::string_view rest = pattern.substr(at + (part ? 2 : 1));
  name.remove_prefix(at);
  // The longest first: "*" at the end takes everything in one try.
  size_t most = part ? std::min(name.find('.'), name.size()) : name.size();
  for (size_t length = most + 1; length-- > (part ? 1 : 0);) {
    captures.emplace_back(name.substr(0, length));
    if (match_from(rest, name.substr(length), captures)) return true;
    captures.pop_back();
  }
  return false;
}

std::optional<Captures> match(const std::string& pattern, const std::string& name) {
  Captures captures;
  if (!match_from(pattern, name, captures)) return std::nullopt;
  return captures;
}

std::string fill(std::string_view pattern, const Captures& captures) {
  std::string out;
  size_t next = 0;
  for (size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] == '*') {
      out += captures.at(next++);
    } else if (pattern[i] == '{') {
      out += captures.at(next++);
      ++i;
    } else {
      out += pattern[i];
    }
  }
  return out;
}

std::vector<std::string> fill_all(const std::vector<std::string>& patterns,
                                  const Captures& captures) {
  std::vector<std::string> names;
  for (const auto& pattern : patterns) names.push_back(fill(pattern, captures));
  return names;
}

// A rule with the names it has for one tensor.
struct Instance {
  const TensorRule* rule;
  std::vector<std::string> file, model;
};

std::optional<Instance> find_instance(const std::vector<TensorRule>& rules, bool by_file,
                                      const std::string& name) {
  for (const TensorRule& rule : rules) {
    // The second name of a tie is an ordinary tensor.
    const auto& patterns = by_file ? rule.file : rule.model;
    const size_t count = rule.kind == TensorRule::Kind::kTie ? 1 : patterns.size();
    for (size_t i = 0; i < std::min(count, patterns.size()); ++i)
      if (const auto captures = match(patterns[i], name))
        return Instance{&rule, fill_all(rule.file, *captures), fill_all(rule.model, *captures)};
  }
  return std::nullopt;
}

std::vector<int64_t> inverse(const std::vector<int64_t>& order) {
  std::vector<int64_t> out(order.size());
  for (size_t i = 0; i < order.size(); ++i)
    out[static_cast<size_t>(order[i])] = static_cast<int64_t>(i);
  return out;
}

at::Tensor regroup(const at::Tensor& tensor, int64_t dim, std::vector<int64_t> groups,
                   const std::vector<int64_t>& order) {
  if (dim >= tensor.dim()) throw Unfit("has too few dimensions");
  const int64_t size = tensor.size(dim);
  int64_t known = 1;
  for (const int64_t group : groups)
    if (group > 0) known *= group;
  if (size % known != 0) throw Unfit("does not divide into its groups");
  for (int64_t& group : groups)
    if (group < 0) group = size / known;
  std::vector<int64_t> shape = tensor.sizes().vec(), dims(static_cast<size_t>(dim));
  if (std::accumulate(groups.begin(), groups.end(), int64_t{1}, std::multiplies<>()) != size)
    throw Unfit("does not divide into its groups");
  shape.erase(shape.begin() + dim);
  shape.insert(shape.begin() + dim, groups.begin(), groups.end());
  std::iota(dims.begin(), dims.end(), 0);
  for (const int64_t at : order) dims.push_back(dim + at);
  for (auto at = dim + static_cast<int64_t>(order.size()); at < static_cast<int64_t>(shape.size());
       ++at)
    dims.push_back(at);
  return tensor.reshape(shape).permute(dims).reshape(tensor.sizes());
}

at::Tensor apply(const at::Tensor& tensor, const TensorStep& step, bool forward) {
  if (step.dim < 0) {
    if (tensor.dim() != static_cast<int64_t>(step.order.size()))
      throw Unfit("has " + std::to_string(tensor.dim()) + " dimensions, expected " +
                  std::to_string(step.order.size()));
    return tensor.permute(forward ? step.order : inverse(step.order));
  }
  if (forward) return regroup(tensor, step.dim, step.groups, step.order);
  std::vector<int64_t> groups;
  for (const int64_t at : step.order) groups.push_back(step.groups[static_cast<size_t>(at)]);
  return regroup(tensor, step.dim, groups, inverse(step.order));
}

// `whole` in `count` pieces.
std::vector<at::Tensor> pieces_of(const at::Tensor& whole, const TensorRule& rule, size_t count) {
  if (count == 1) return {whole};
  if (rule.dim >= whole.dim()) throw Unfit("has too few dimensions to be split");
  const int64_t size = whole.size(rule.dim);
  std::vector<int64_t> sizes = rule.sizes;
  if (sizes.empty()) {
    if (size % static_cast<int64_t>(count) != 0)
      throw Unfit("does not split into " + std::to_string(count) + " equal parts");
    sizes.assign(count, size / static_cast<int64_t>(count));
  }
  if (std::accumulate(sizes.begin(), sizes.end(), int64_t{0}) != size)
    throw Unfit("has " + std::to_string(size) + " rows to split, expected " +
                std::to_string(std::accumulate(sizes.begin(), sizes.end(), int64_t{0})));
  return whole.split_with_sizes(sizes, rule.dim);
}

at::Tensor stacked(const std::vector<at::Tensor>& parts, int64_t dim) {
  if (parts.size() == 1) return parts[0];
  for (const at::Tensor& part : parts) {
    bool fits = part.dim() == parts[0].dim() && dim < part.dim();
    for (int64_t i = 0; fits && i < part.dim(); ++i)
      fits = i == dim || part.size(i) == parts[0].size(i);
    if (!fits) throw Unfit("does not stack with its neighbours");
  }
  return at::cat(parts, dim);
}

// From the file's tensors of one instance to the model's, or back.
std::vector<at::Tensor> convert(const TensorRule& rule, const std::vector<at::Tensor>& from,
                                bool forward) {
  at::Tensor whole = stacked(from, rule.dim);
  if (forward) {
    for (const TensorStep& step : rule.steps) whole = apply(whole, step, true);
  } else {
    for (auto step = rule.steps.rbegin(); step != rule.steps.rend(); ++step)
      whole = apply(whole, *step, false);
  }
  std::vector<at::Tensor> out =
      pieces_of(whole, rule, forward ? rule.model.size() : rule.file.size());
  for (at::Tensor& piece : out) piece = piece.contiguous();
  return out;
}

// The tensors of `names`; empty unless all are there.
template <class Dict>
std::vector<at::Tensor> take_all(const Dict& dict, const std::vector<std::string>& names) {
  std::vector<at::Tensor> found;
  for (const auto& name : names) {
    const auto it = dict.find(name);
    if (it == dict.end()) return {};
    found.push_back(it->second);
  }
  return found;
}

void check_ties(const std::vector<TensorRule>& rules, TensorDict& model,
                std::vector<std::string>& problems) {
  for (const TensorRule& rule : rules) {
    if (rule.kind != TensorRule::Kind::kTie) continue;
    const auto copy = model.find(rule.model[0]), original = model.find(rule.model[1]);
    if (copy == model.end() || original == model.end()) continue;
    if (!copy->second.defined() || !original->second.defined()) continue;  // already a problem
    if (copy->second.sizes() != original->second.sizes() ||
        !at::equal(copy->second.to(original->second.scalar_type()), original->second))
      problems.push_back("'" + rule.model[0] + "' and '" + rule.model[1] +
                         "' are tied by the configuration, but their values differ");
    model.erase(copy);
  }
}

size_t places(const std::string& pattern) {
  size_t count = 0;
  for (const char c : pattern) count += c == '{' || c == '*' ? 1 : 0;
  return count;
}

void check_rule(const TensorRule& rule) {
  const auto& first = rule.file.empty() ? rule.model : rule.file;
  auto fail = [&](const std::string& what) {
    throw Error(ErrorKind::kInternal,
                "tensor map: the rule for '" + (first.empty() ? "" : first[0]) + "' " + what);
  };
  if (first.empty()) fail("has no names");
  if (rule.kind == TensorRule::Kind::kMap && (rule.file.empty() || rule.model.empty()))
    fail("lacks a side");
  if (rule.file.size() > 1 && rule.model.size() > 1) fail("has several names on both sides");
  for (const auto* side : {&rule.file, &rule.model})
    for (const auto& pattern : *side)
      if (places(pattern) != places(first[0])) fail("has different patterns");
  if (!rule.sizes.empty() && rule.sizes.size() != std::max(rule.file.size(), rule.model.size()))
    fail("has sizes for another number of pieces");
  for (const TensorStep& step : rule.steps) {
    std::vector<int64_t> sorted = step.order;
    std::sort(sorted.begin(), sorted.end());
    for (size_t i = 0; i < sorted.size(); ++i)
      if (sorted[i] != static_cast<int64_t>(i)) fail("has a step whose order is no permutation");
    if (step.dim >= 0 && step.groups.size() != step.order.size())
      fail("has a step with more groups than places");
    if (std::count(step.groups.begin(), step.groups.end(), -1) > 1)
      fail("has a step with two groups of unknown size");
  }
}

}  // namespace

TensorRule TensorRule::permuted(std::vector<int64_t> order) const {
  TensorRule rule = *this;
  rule.steps.push_back({-1, {}, std::move(order)});
  return rule;
}

TensorRule TensorRule::regrouped(int64_t at, std::vector<int64_t> groups,
                                 std::vector<int64_t> order) const {
  TensorRule rule = *this;
  rule.steps.push_back({at, std::move(groups), std::move(order)});
  return rule;
}

TensorRule rename(std::string file, std::string model) {
  TensorRule rule;
  rule.file = {std::move(file)};
  rule.model = {std::move(model)};
  return rule;
}

TensorRule split(std::string file, std::vector<std::string> model, int64_t dim,
                 std::vector<int64_t> sizes) {
  TensorRule rule;
  rule.file = {std::move(file)};
  rule.model = std::move(model);
  rule.dim = dim;
  rule.sizes = std::move(sizes);
  return rule;
}

TensorRule concat(std::vector<std::string> file, std::string model, int64_t dim,
                  std::vector<int64_t> sizes) {
  TensorRule rule;
  rule.file = std::move(file);
  rule.model = {std::move(model)};
  rule.dim = dim;
  rule.sizes = std::move(sizes);
  return rule;
}

TensorRule drop(std::string file, std::string reason) {
  TensorRule rule;
  rule.kind = TensorRule::Kind::kDrop;
  rule.file = {std::move(file)};
  rule.reason = std::move(reason);
  return rule;
}

TensorRule omit(std::string model, std::string reason) {
  TensorRule rule;
  rule.kind = TensorRule::Kind::kOmit;
  rule.model = {std::move(model)};
  rule.reason = std::move(reason);
  return rule;
}

TensorRule tie(std::string name, std::string of) {
  TensorRule rule;
  rule.kind = TensorRule::Kind::kTie;
  rule.model = {std::move(name), std::move(of)};
  return rule;
}

TensorMap::TensorMap(std::vector<TensorRule> rules) : rules_(std::move(rules)) {
  for (const TensorRule& rule : rules_) check_rule(rule);
}

TensorDict TensorMap::to_model(const TensorDict& file, std::vector<std::string>& problems) const {
  TensorDict model;
  std::map<std::string, std::string> origin;
  auto put = [&](const std::string& name, const at::Tensor& tensor, const std::string& from) {
    const auto [it, is_new] = origin.emplace(name, from);
    if (!is_new)
      problems.push_back("'" + it->second + "' and '" + from + "' both stand for '" + name + "'");
    model[name] = tensor;
  };
  std::set<std::string> done;
  for (const auto& [name, tensor] : file) {
    if (done.contains(name)) continue;
    const auto instance = find_instance(rules_, true, name);
    if (!instance) {
      put(name, tensor, name);
      continue;
    }
    if (instance->rule->kind == TensorRule::Kind::kDrop) continue;
    done.insert(instance->file.begin(), instance->file.end());
    const auto from = take_all(file, instance->file);
    if (from.empty()) continue;  // the strict check says what is missing
    try {
      const auto to = convert(*instance->rule, from, true);
      for (size_t i = 0; i < to.size(); ++i) put(instance->model[i], to[i], name);
    } catch (const Unfit& unfit) {
      problems.push_back("'" + name + "' " + unfit.what());
      for (const auto& target : instance->model) put(target, at::Tensor(), name);
    }
  }
  check_ties(rules_, model, problems);
  return model;
}

NamedTensors TensorMap::to_file(const NamedTensors& model) const {
  if (rules_.empty()) return model;
  NamedTensors file;
  const TensorDict dict(model.begin(), model.end());
  std::set<std::string> done;
  for (const auto& [name, tensor] : model) {
    const auto instance = find_instance(rules_, false, name);
    if (!instance) {
      file.emplace_back(name, tensor);
      continue;
    }
    if (instance->rule->kind != TensorRule::Kind::kMap) continue;
    if (!done.insert(instance->file[0]).second) continue;
    const auto from = take_all(dict, instance->model);
    if (from.empty())
      throw Error(ErrorKind::kInternal, "tensor map: '" + instance->file[0] + "' needs all of " +
                                            join(instance->model, ", "));
    try {
      const auto to = convert(*instance->rule, from, false);
      for (size_t i = 0; i < to.size(); ++i) file.emplace_back(instance->file[i], to[i]);
    } catch (const Unfit& unfit) {
      throw Error(ErrorKind::kInternal, "tensor map: '" + name + "' " + unfit.what());
    }
  }
  return file;
}

std::vector<std::string> TensorMap::file_names(const std::string& name) const {
  const auto instance = find_instance(rules_, false, name);
  if (!instance || instance->rule->kind != TensorRule::Kind::kMap) return {name};
  return instance->file;
}

}  // namespace parapet::nn
