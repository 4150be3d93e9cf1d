#include "parapet/guard/policy.h"

#include <algorithm>

#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/guard/toml_reader.h"

namespace parapet::guard {

std::vector<std::string> Policy::profiles() const {
  std::vector<std::string> names;
  for (const auto& [name_of, rules] : rules_)
    if (!name_of.empty()) names.push_back(name_of);
  return names;
}

std::string Policy::resolve_profile(std::string_view profile, std::string_view tenant) const {
  std::string chosen(profile);
  if (chosen.empty()) {
    const auto it = tenants.find(std::string(tenant));
    chosen = it != tenants.end() ? it->second : default_profile;
  }
  if (rules_.contains(chosen)) return chosen;
  throw UsageError("the policy has no profile '" + chosen + "'" + name_hint(chosen, profiles()));
}

const CategoryRule* Policy::rule(std::string_view profile, std::string_view category,
                                 Modality modality, Side side) const {
  const auto table = rules_.find(profile);
  if (table == rules_.end()) return nullptr;
  const auto it = table->second.find(category);
  if (it == table->second.end()) return nullptr;
  return &it->second[static_cast<size_t>(modality)][static_cast<size_t>(side)];
}

std::vector<std::string> Policy::categories_with_named_thresholds() const {
  std::vector<std::string> names;
  for (const std::string& category : categories_)
    for (const auto& [profile, rules] : rules_) {
      const auto& own = rules.find(category)->second;
      const bool named = std::any_of(own.begin(), own.end(), [](const auto& by_side) {
        return std::any_of(by_side.begin(), by_side.end(), [](const CategoryRule& rule) {
          return !rule.flag_from.empty() || !rule.block_from.empty();
        });
      });
      if (!named) continue;
      names.push_back(category);
      break;
    }
  return names;
}

}  // namespace parapet::guard
