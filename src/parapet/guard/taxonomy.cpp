#include "parapet/guard/taxonomy.h"

#include <algorithm>

#include "parapet/core/files.h"
#include "parapet/core/text_encoding.h"
#include "parapet/guard/toml_reader.h"

namespace parapet::guard {
namespace {

constexpr int64_t kFileCap = 4 << 20;

void check_names(TomlTable& table, std::string_view key, const std::vector<std::string>& given,
                 const std::vector<std::string>& known) {
  for (const std::string& name : given)
    if (std::find(known.begin(), known.end(), name) == known.end())
      table.mistake(key,
                    "names '" + name + "', which that scheme has not" + name_hint(name, known));
}

TaxonomyCategory read_category(TomlTable& table) {
  TaxonomyCategory category;
  table.require("name");
  table.read("name", category.name, 64);
  table.read("parent", category.parent, 64);
  table.read("title", category.title);
  if (table.read("openai", category.openai))
    check_names(table, "openai", category.openai, Taxonomy::openai_names());
  if (table.read("llama_guard", category.llama_guard))
    check_names(table, "llama_guard", category.llama_guard, Taxonomy::llama_guard_names());
  if (table.read("ailuminate", category.ailuminate))
    check_names(table, "ailuminate", category.ailuminate, Taxonomy::ailuminate_names());
  if (table.read("azure", category.azure))
    check_names(table, "azure", {category.azure}, Taxonomy::azure_names());
  table.finish();
  return category;
}

}  // namespace

Taxonomy Taxonomy::load(const std::filesystem::path& file) {
  return parse(read_text_file(file, kFileCap), file.string());
}

Taxonomy Taxonomy::parse(std::string_view text, std::string_view source) {
  const toml::table root = parse_toml(text, source);
  TomlMistakes mistakes{std::string(source)};
  TomlTable top(root, "", mistakes);
  Taxonomy taxonomy;
  top.read("version", taxonomy.version_, 64);
  std::vector<std::pair<uint32_t, std::string>> parents;
  for (const toml::table* item : top.tables("category")) {
    TomlTable table(*item, "category", mistakes);
    TaxonomyCategory category = read_category(table);
    if (category.name.empty()) continue;
    if (category.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-") !=
        std::string::npos)
      table.mistake("name", "may hold a-z, 0-9, _ and - only, not '" + category.name + "'");
    if (!taxonomy.by_name_.emplace(category.name, taxonomy.categories_.size()).second)
      table.mistake("name", "'" + category.name + "' is there twice");
    if (!category.parent.empty()) parents.emplace_back(table.line("parent"), category.parent);
    taxonomy.categories_.push_back(std::move(category));
  }
  for (const auto& [line, parent] : parents)
    if (taxonomy.find(parent) == nullptr)
      mistakes.add(
          line, "parent '" + parent + "' is not a category" + name_hint(parent, taxonomy.names()));
  if (taxonomy.categories_.empty()) mistakes.add(1, "no [[category]]");
  top.finish();
  mistakes.throw_if_any("taxonomy");
  taxonomy.hash_ = sha256_hex(text).substr(0, 16);
  return taxonomy;
}

const TaxonomyCategory* Taxonomy::find(std::string_view name) const {
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : &categories_[it->second];
}

std::vector<std::string> Taxonomy::names() const {
  std::vector<std::string> names;
  for (const auto& category : categories_) names.push_back(category.name);
  return names;
}

const std::vector<std::string>& Taxonomy::openai_names() {
  static const std::vector<std::string> names = {"harassment",
                                                 "harassment/threatening",
                                                 "hate",
                                                 "hate/threatening",
                                                 "illicit",
                                                 "illicit/violent",
                                                 "self-harm",
                                                 "self-harm/intent",
                                                 "self-harm/instructions",
                                                 "sexual",
                                                 "sexual/minors",
                                                 "violence",
                                                 "violence/graphic"};
  return names;
}

const std::vector<std::string>& Taxonomy::llama_guard_names() {
  static const std::vector<std::string> names = {"S1", "S2", "S3",  "S4",  "S5",  "S6",  "S7",
                                                 "S8", "S9", "S10", "S11", "S12", "S13", "S14"};
  return names;
}

const std::vector<std::string>& Taxonomy::ailuminate_names() {
  static const std::vector<std::string> names = {
      "violent_crimes",    "sex_related_crimes",     "child_sexual_exploitation",
      "suicide_self_harm", "indiscriminate_weapons", "intellectual_property",
      "defamation",        "non_violent_crimes",     "hate",
      "privacy",           "specialised_advice",     "sexual_content"};
  return names;
}

const std::vector<std::string>& Taxonomy::azure_names() {
  static const std::vector<std::string> names = {"Hate", "SelfHarm", "Sexual", "Violence"};
  return names;
}

}  // namespace parapet::guard
