// Thresholds per category, modality and side, and the profiles that change them.
#include <algorithm>

#include "parapet/guard/policy_reader.h"

namespace parapet::guard {
namespace {

constexpr std::array<Modality, 3> kModalities = {Modality::kText, Modality::kImage,
                                                 Modality::kJoint};
constexpr std::array<Side, 2> kSides = {Side::kInput, Side::kOutput};

// `key` = a score 0..1 or "never".
void read_threshold(TomlTable& table, std::string_view key, std::optional<double>& value,
                    std::optional<std::optional<double>>& change) {
  const toml::node* node = table.raw().get(key);
  if (node != nullptr && node->value_exact<std::string>() == "never") {
    std::string ignored;
    table.read(key, ignored);
    value.reset();
    change = value;
    return;
  }
  double number = 0;
  if (!table.read(key, number, 0, 1)) return;
  value = number;
  change = value;
}

double scaled(double threshold, double scale) { return std::min(1.0, threshold * scale); }

// Reads the keys that stand directly in `table` and applies them to every rule given.
void read_rule(TomlTable& table, const std::vector<CategoryRule*>& rules) {
  CategoryRule scratch;
  std::optional<std::optional<double>> flag, block;
  read_threshold(table, "flag", scratch.flag, flag);
  read_threshold(table, "block", scratch.block, block);
  const int action = table.read_choice("action", {"flag", "modify", "block"});
  const int mode = table.read_choice("mode", {"enforce", "shadow"});
  const int fail = table.read_choice("fail", {"open", "flag", "closed"});
  std::vector<double> severity, review;
  table.read("severity", severity, 3, 0, 1);
  table.read("review", review, 2, 0, 1);
  for (CategoryRule* rule : rules) {
    if (flag) rule->flag = *flag;
    if (block) rule->block = *block;
    if (action >= 0) rule->action = static_cast<Action>(action + 1);
    if (mode >= 0) rule->mode = static_cast<Mode>(mode);
    if (fail >= 0) rule->fail = static_cast<FailMode>(fail);
    if (!severity.empty()) std::copy(severity.begin(), severity.end(), rule->severity.begin());
    if (!review.empty()) rule->review = {review[0], review[1]};
  }
}

}  // namespace

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
      if (rule.flag && rule.block && *rule.flag > *rule.block) {
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
    for (auto& by_side : rules) by_side.fill(defaults);
    policy_.categories_.push_back(name);
    read_category(reader, name, base);
  }
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
