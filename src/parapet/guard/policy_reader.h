// Builds a Policy from TOML. Internal.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/core/files.h"
#include "parapet/guard/named_thresholds.h"
#include "parapet/guard/policy.h"
#include "parapet/guard/toml_reader.h"

namespace parapet::guard {

class PolicyReader {
 public:
  PolicyReader(std::string_view source, std::filesystem::path folder)
      : mistakes_(std::string(source)), folder_(std::move(folder)) {
    policy_.source = source;
  }
  Policy read(std::string_view toml);

 private:
  // policy_reader_sections.cpp
  void read_limits(TomlTable& top);
  void read_fetch(TomlTable& top);
  void read_hash_lists(TomlTable& top);
  void read_word_lists(TomlTable& top);
  void read_word_list(TomlTable& table);
  void read_clip(TomlTable& top);
  void read_heads(TomlTable& table);
  void read_zeroshot(TomlTable& table);
  void read_classifiers(TomlTable& top);
  void read_ocr(TomlTable& top);
  void read_consistency(TomlTable& top);
  void read_combinations(TomlTable& top);
  void read_modify(TomlTable& top);
  void read_audit(TomlTable& top);
  // policy_reader_categories.cpp
  void read_categories(TomlTable& top);
  void read_profiles(TomlTable& top);
  void read_category(TomlTable& table, std::string_view category, Policy::RuleTable& rules);
  // Reads the keys that stand directly in `table` and applies them to every rule given.
  void read_rule(TomlTable& table, const std::vector<CategoryRule*>& rules);
  void copy_rule(const CategoryRule& from, CategoryRule& to);
  // Numbers in place of names, once nothing overrides them any more.
  void resolve_named(Policy::RuleTable& rules);
  void resolve_named(std::string_view category, Modality modality, CategoryRule& rule,
                     std::set<std::pair<uint32_t, std::string>>& mistakes);

  // policy_reader.cpp
  void read_taxonomy(TomlTable& top);
  // Shared by the sections.
  void read_fail(TomlTable& table, FailMode& fail);
  void read_mode(TomlTable& table, Mode& mode);
  void read_action(TomlTable& table, Action& action);
  void read_category_name(TomlTable& table, std::string& category, bool required);
  void read_rule_name(TomlTable& table, std::string& name);
  // A file that must exist; it enters the policy's hash. `folder` = a folder instead.
  void read_file_name(TomlTable& table, std::string_view key, std::filesystem::path& file,
                      bool is_folder = false);
  void read_file_names(TomlTable& table, std::string_view key,
                       std::vector<std::filesystem::path>& files);
  bool check_file(TomlTable& table, std::string_view key, const std::filesystem::path& file,
                  bool is_folder);

  TomlMistakes mistakes_;
  std::filesystem::path folder_;
  Policy policy_;
  std::vector<std::string> rule_names_;
  std::vector<std::filesystem::path> hashed_files_;
  // Expressions wait until every rule's name is known.
  std::vector<std::pair<uint32_t, size_t>> expressions_;
  std::optional<NamedThresholds> thresholds_;  // of [clip] heads
  bool bad_heads_ = false;                     // reported already
  // Where a rule's threshold was given by name: line and key.
  struct NamedSite {
    uint32_t line;
    std::string key;
  };
  using RuleSites = std::array<std::optional<NamedSite>, 2>;  // flag, block
  std::map<const CategoryRule*, RuleSites> named_;
};

}  // namespace parapet::guard
