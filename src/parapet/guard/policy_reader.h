// Builds a Policy from TOML. Internal.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "parapet/core/files.h"
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
  // policy_sections.cpp
  void read_limits(TomlTable& top);
  void read_fetch(TomlTable& top);
  void read_hash_lists(TomlTable& top);
  void read_word_lists(TomlTable& top);
  void read_word_list(TomlTable& table);
  void read_clip(TomlTable& top);
  void read_zeroshot(TomlTable& table);
  void read_classifiers(TomlTable& top);
  void read_ocr(TomlTable& top);
  void read_consistency(TomlTable& top);
  void read_combinations(TomlTable& top);
  void read_modify(TomlTable& top);
  void read_audit(TomlTable& top);
  // policy_categories.cpp
  void read_categories(TomlTable& top);
  void read_profiles(TomlTable& top);
  void read_category(TomlTable& table, std::string_view category, Policy::RuleTable& rules);

  // policy.cpp
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
};

}  // namespace parapet::guard
