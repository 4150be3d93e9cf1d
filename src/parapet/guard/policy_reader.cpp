#include "parapet/guard/policy_reader.h"

#include <algorithm>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/core/text_encoding.h"

namespace parapet::guard {
namespace {

constexpr int64_t kPolicyCap = 4 << 20;

}  // namespace

Policy Policy::load(const std::filesystem::path& file) {
  std::string text;
  try {
    text = read_text_file(file, kPolicyCap);
  } catch (const DataError& error) {
    throw UsageError(std::string("policy ") + error.what());
  }
  return parse(text, file.string(), file.parent_path());
}

Policy Policy::parse(std::string_view toml, std::string_view source,
                     const std::filesystem::path& folder) {
  return PolicyReader(source, folder).read(toml);
}

Policy PolicyReader::read(std::string_view toml_text) {
  const toml::table root = parse_toml(toml_text, policy_.source);
  TomlTable top(root, "", mistakes_);
  policy_.name = std::filesystem::path(policy_.source).stem().string();
  top.read("name", policy_.name, 256);
  top.read("version", policy_.version, 256);
  read_mode(top, policy_.mode);
  read_taxonomy(top);
  read_limits(top);
  read_fetch(top);
  read_hash_lists(top);
  read_word_lists(top);
  read_clip(top);
  read_classifiers(top);
  read_ocr(top);
  read_consistency(top);
  read_categories(top);
  read_profiles(top);
  read_combinations(top);
  read_modify(top);
  read_audit(top);
  top.finish();
  mistakes_.throw_if_any("policy");
  Sha256 hash;
  hash.update(toml_text).update(policy_.taxonomy.hash());
  for (const auto& file : hashed_files_) hash.update(sha256_file(file));
  policy_.hash = hash.hex().substr(0, 16);
  return std::move(policy_);
}

void PolicyReader::read_taxonomy(TomlTable& top) {
  std::filesystem::path file = folder_ / "taxonomy.toml";
  std::string given;
  if (top.read("taxonomy", given)) file = folder_ / given;
  try {
    policy_.taxonomy = Taxonomy::load(file);
  } catch (const Error& error) {
    top.mistake("taxonomy", std::string("cannot be used: ") + error.what());
  }
}

void PolicyReader::read_fail(TomlTable& table, FailMode& fail) {
  const int choice = table.read_choice("fail", {"open", "flag", "closed"});
  if (choice >= 0) fail = static_cast<FailMode>(choice);
}

void PolicyReader::read_mode(TomlTable& table, Mode& mode) {
  const int choice = table.read_choice("mode", {"enforce", "shadow"});
  if (choice >= 0) mode = static_cast<Mode>(choice);
}

void PolicyReader::read_action(TomlTable& table, Action& action) {
  const int choice = table.read_choice("action", {"flag", "modify", "block"});
  if (choice >= 0) action = static_cast<Action>(choice + 1);
}

void PolicyReader::read_category_name(TomlTable& table, std::string& category, bool required) {
  if (required) table.require("category");
  if (!table.read("category", category, 64)) return;
  const auto names = policy_.taxonomy.names();
  if (!names.empty() && policy_.taxonomy.find(category) == nullptr)
    table.mistake("category",
                  "'" + category + "' is not in the taxonomy" + name_hint(category, names));
}

void PolicyReader::read_rule_name(TomlTable& table, std::string& name) {
  table.require("name");
  if (!table.read("name", name, 128)) return;
  if (std::find(rule_names_.begin(), rule_names_.end(), name) != rule_names_.end())
    table.mistake("name", "'" + name + "' is the name of another rule too");
  rule_names_.push_back(name);
}

bool PolicyReader::check_file(TomlTable& table, std::string_view key,
                              const std::filesystem::path& file, bool is_folder) {
  std::error_code error;
  const bool ok = is_folder ? std::filesystem::exists(file, error)
                            : std::filesystem::is_regular_file(file, error);
  if (!ok) table.mistake(key, (is_folder ? "does not exist: " : "is not a file: ") + file.string());
  return ok;
}

void PolicyReader::read_file_name(TomlTable& table, std::string_view key,
                                  std::filesystem::path& file, bool is_folder) {
  std::string given;
  if (!table.read(key, given) || given.empty()) return;
  file = folder_ / given;
  if (check_file(table, key, file, is_folder) && !is_folder) hashed_files_.push_back(file);
}

void PolicyReader::read_file_names(TomlTable& table, std::string_view key,
                                   std::vector<std::filesystem::path>& files) {
  std::vector<std::string> given;
  table.read(key, given);
  for (const std::string& name : given) {
    files.push_back(folder_ / name);
    if (check_file(table, key, files.back(), false)) hashed_files_.push_back(files.back());
  }
}

}  // namespace parapet::guard
