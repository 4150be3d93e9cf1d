// One table of categories and what they are called elsewhere.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace parapet::guard {

struct TaxonomyCategory {
  std::string name;    // "weapon", "sexual_content"; unique
  std::string parent;  // group shown beside it; empty for a group
  std::string title;   // for people
  // Names in other schemes; several where a category is theirs only in part, most specific first.
  std::vector<std::string> openai;       // e.g. "violence/graphic"
  std::vector<std::string> llama_guard;  // S1..S14
  std::vector<std::string> ailuminate;   // e.g. "violent_crimes"
  std::string azure;                     // Hate, SelfHarm, Sexual, Violence; may be empty
};

class Taxonomy {
 public:
  // UsageError lists every mistake as file:line with the closest known name.
  static Taxonomy load(const std::filesystem::path& file);
  static Taxonomy parse(std::string_view toml, std::string_view source);

  const TaxonomyCategory* find(std::string_view name) const;  // null = unknown
  const std::vector<TaxonomyCategory>& categories() const { return categories_; }
  std::vector<std::string> names() const;
  const std::string& version() const { return version_; }
  const std::string& hash() const { return hash_; }
  // OpenAI's 13 category names, in the order of its API.
  static const std::vector<std::string>& openai_names();
  static const std::vector<std::string>& llama_guard_names();  // S1..S14
  static const std::vector<std::string>& ailuminate_names();
  static const std::vector<std::string>& azure_names();

 private:
  std::vector<TaxonomyCategory> categories_;
  std::map<std::string, size_t, std::less<>> by_name_;
  std::string version_;
  std::string hash_;
};

}  // namespace parapet::guard
