// Thresholds per category, modality and side, and the profiles that change them.
#include <algorithm>

#include "parapet/core/strings.h"
#include "parapet/guard/policy_reader.h"

namespace parapet::guard {
namespace {

constexpr std::array<Modality, 3> kModalities = {Modality::kText, Modality::kImage,
                                                 Modality::kJoint};
constexpr std::array<Side, 2> kSides = {Side::kInput, Side::kOutput};

constexpr size_t kFlag = 0, kBlock = 1;
constexpr std::array<const char*, 2> kThresholdKeys = {"flag", "block"};

std::optional<double>& number_of(CategoryRule& rule, size_t which) {
  return which == kFlag ? rule.flag : rule.block;
}
std::string& name_of(CategoryRule& rule, size_t which) {
  return which == kFlag ? rule.flag_from : rule.block_from;
}

// A score 0..1, "never", or a threshold of the heads by name.
struct Threshold {
  std::optional<double> number;
  std::string name;
};

std::optional<Threshold> read_threshold(TomlTable& table, std::string_view key) {
  const toml::node* node = table.raw().get(key);
  if (node == nullptr || !node->is_string()) {
    double number = 0;
    if (!table.read(key, number, 0, 1)) return std::nullopt;
    return Threshold{number, ""};
  }
  std::string word;
  if (!table.read(key, word)) return std::nullopt;
  if (word == "never") return Threshold{};
  const auto& names = NamedThresholds::names();
  if (std::find(names.begin(), names.end(), word) != names.end())
    return Threshold{std::nullopt, word};
  std::vector<std::string> known = names;
  known.emplace_back("never");
  table.mistake(
      key, "must be a number from 0 to 1 or one of: " + join(known, ", ") + "; not '" + word + "'");
  return std::nullopt;
}

// A threshold of the heads may lie just above 1: nothing reaches it, and nothing shall.
double scaled(double threshold, double scale) {
  return std::min(std::max(1.0, threshold), threshold * scale);
}

}  // namespace

void PolicyReader::read_rule(TomlTable& table, const std::vector<CategoryRule*>& rules) {
  const std::array<std::optional<Threshold>, 2> given = {
      read_threshold(table, kThresholdKeys[kFlag]), read_threshold(table, kThresholdKeys[kBlock])};
  const int action = table.read_choice("action", {"flag", "modify", "block"});
  const int mode = table.read_choice("mode", {"enforce", "shadow"});
  const int fail = table.read_choice("fail", {"open", "flag", "closed"});
  std::vector<double> severity, review;
  table.read("severity", severity, 3, 0, 1);
  table.read("review", review, 2, 0, 1);
  for (CategoryRule* rule : rules) {
    for (const size_t which : {kFlag, kBlock}) {
      if (!given[which]) continue;
      number_of(*rule, which) = given[which]->number;
      name_of(*rule, which) = given[which]->name;
      const char* key = kThresholdKeys[which];
      auto& site = named_[rule][which];
      site.reset();
      if (!given[which]->name.empty()) site = NamedSite{table.line(key), table.name(key)};
    }
    if (action >= 0) rule->action = static_cast<Action>(action + 1);
    if (mode >= 0) rule->mode = static_cast<Mode>(mode);
    if (fail >= 0) rule->fail = static_cast<FailMode>(fail);
    if (!severity.empty()) std::copy(severity.begin(), severity.end(), rule->severity.begin());
    if (!review.empty()) rule->review = {review[0], review[1]};
  }
}

void PolicyReader::copy_rule(const CategoryRule& from, CategoryRule& to) {
  to = from;
  const auto sites = named_.find(&from);
  if (sites != named_.end()) named_[&to] = RuleSites(sites->second);
}

void PolicyReader::resolve_named(std::string_view category, Modality modality, CategoryRule& rule,
                                 std::set<std::pair<uint32_t, std::string>>& mistakes) {
  const auto sites = named_.find(&rule);
  if (sites == named_.end()) return;
  for (const size_t which : {kFlag, kBlock}) {
    const auto& site = sites->second[which];
    if (!site || !NamedThresholds::scores(category, modality)) continue;
    const std::string& name = name_of(rule, which);
    const std::string begin = "'" + site->key + "' = \"" + name + "\" ";
    if (!thresholds_) {
      mistakes.emplace(site->line, begin +
                                       "is a threshold of trained heads: enable [clip] and "
                                       "name them there ('heads'), or write a number");
      continue;
    }
    const auto scored = thresholds_->scored();
    if (std::find(scored.begin(), scored.end(), category) == scored.end()) {
      mistakes.emplace(site->line, begin + "cannot stand for category '" + std::string(category) +
                                       "', which the heads do not score" +
                                       name_hint(category, scored) + "; write a number");
      continue;
    }
    number_of(rule, which) = thresholds_->find(category, modality, name);
    if (number_of(rule, which)) continue;
    const std::string place = std::string(category) + "." + std::string(modality_name(modality));
    mistakes.emplace(site->line, begin + "was not chosen for " + place +
                                     " when the heads were trained (split val lacked harmful or "
                                     "benign samples); write a number or \"never\" in [category." +
                                     place + "]");
  }
}

void PolicyReader::resolve_named(Policy::RuleTable& rules) {
  std::set<std::pair<uint32_t, std::string>> mistakes;
  if (!bad_heads_)
    for (auto& [category, own] : rules)
      for (const Modality modality : kModalities)
        for (CategoryRule& rule : own[static_cast<size_t>(modality)])
          resolve_named(category, modality, rule, mistakes);
  for (const auto& [line, message] : mistakes) mistakes_.add(line, message);
  named_.clear();
}

void PolicyReader::read_category(TomlTable& table, std::string_view category,
                                 Policy::RuleTable& rules) {
  auto& own = rules.find(category)->second;
  const auto all = [&](std::optional<Modality> modality, std::optional<Side> side) {
    std::vector<CategoryRule*> chosen;
    for (const Modality m : kModalities)
      for (const Side s : kSides)
        if ((!modality || *modality == m) && (!side || *side == s))
          chosen.push_back(&own[static_cast<size_t>(m)][static_cast<size_t>(s)]);
    return chosen;
  };
  const auto nested = [&](TomlTable& parent, std::string_view key, auto&& read) {
    const toml::table* inner = parent.table(key);
    if (inner == nullptr) return;
    TomlTable inner_table(*inner, parent.name(key), mistakes_);
    read(inner_table);
    inner_table.finish();
  };
  read_rule(table, all({}, {}));
  for (const Side side : kSides)
    nested(table, side_name(side), [&](TomlTable& inner) { read_rule(inner, all({}, side)); });
  for (const Modality modality : kModalities)
    nested(table, modality_name(modality), [&](TomlTable& inner) {
      read_rule(inner, all(modality, {}));
      for (const Side side : kSides)
        nested(inner, side_name(side),
               [&](TomlTable& inmost) { read_rule(inmost, all(modality, side)); });
    });
  table.finish();
  for (const auto& by_side : own)
    for (const CategoryRule& rule : by_side)
      if (rule.flag_from.empty() && rule.block_from.empty() && rule.flag && rule.block &&
          *rule.flag > *rule.block) {
        mistakes_.add(std::max<uint32_t>(1, table.raw().source().begin.line),
                      "category '" + std::string(category) +
                          "': 'flag' lies above 'block'; raise 'block' or set it to \"never\"");
        return;
      }
}

void PolicyReader::read_categories(TomlTable& top) {
  Policy::RuleTable& base = policy_.rules_[""];
  CategoryRule defaults;
  defaults.mode = policy_.mode;
  if (const toml::table* table = top.table("defaults")) {
    TomlTable reader(*table, "defaults", mistakes_);
    read_rule(reader, {&defaults});
    reader.finish();
  }
  const auto names = policy_.taxonomy.names();
  for (const auto& [name, table] : top.named_tables("category")) {
    TomlTable reader(*table, "category." + name, mistakes_);
    if (!names.empty() && policy_.taxonomy.find(name) == nullptr) {
      mistakes_.add(std::max<uint32_t>(1, table->source().begin.line),
                    "category '" + name + "' is not in the taxonomy" + name_hint(name, names));
      continue;
    }
    auto& rules = base[name];
    for (auto& by_side : rules)
      for (CategoryRule& rule : by_side) copy_rule(defaults, rule);
    policy_.categories_.push_back(name);
    read_category(reader, name, base);
  }
  resolve_named(base);
}

void PolicyReader::read_profiles(TomlTable& top) {
  for (const auto& [name, table] : top.named_tables("profile")) {
    TomlTable reader(*table, "profile." + name, mistakes_);
    Policy::RuleTable& rules = policy_.rules_[name] = policy_.rules_[""];
    double scale = 1;
    reader.read("scale", scale, 0.05, 20);
    for (auto& [category, own] : rules)
      for (auto& by_side : own)
        for (CategoryRule& rule : by_side) {
          if (rule.flag) rule.flag = scaled(*rule.flag, scale);
          if (rule.block) rule.block = scaled(*rule.block, scale);
          if (rule.review)
            rule.review = {scaled((*rule.review)[0], scale), scaled((*rule.review)[1], scale)};
        }
    for (const auto& [category, inner] : reader.named_tables("category")) {
      TomlTable inner_reader(*inner, "profile." + name + ".category." + category, mistakes_);
      if (!rules.contains(category)) {
        mistakes_.add(std::max<uint32_t>(1, inner->source().begin.line),
                      "category '" + category + "' has no [category." + category + "]" +
                          name_hint(category, policy_.categories_));
        continue;
      }
      read_category(inner_reader, category, rules);
    }
    resolve_named(rules);
    reader.finish();
  }
  const auto known = policy_.profiles();
  const auto check = [&](TomlTable& table, std::string_view key, const std::string& profile) {
    if (!policy_.rules_.contains(profile))
      table.mistake(
          key, "names profile '" + profile + "', which is not there" + name_hint(profile, known));
  };
  if (top.read("default_profile", policy_.default_profile))
    check(top, "default_profile", policy_.default_profile);
  if (const toml::table* tenants = top.table("tenants")) {
    TomlTable reader(*tenants, "tenants", mistakes_);
    for (const auto& [tenant, node] : *tenants) {
      std::string profile;
      if (!reader.read(tenant.str(), profile)) continue;
      check(reader, tenant.str(), profile);
      policy_.tenants.emplace(std::string(tenant.str()), profile);
    }
  }
}

}  // namespace parapet::guard
