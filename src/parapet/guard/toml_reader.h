// Reading TOML so that every mistake is found in one go, each with its line and the closest name.
// Internal: toml++ is a heavy header.
#pragma once
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace parapet::guard {

// Mistakes of one file, reported in reading order.
class TomlMistakes {
 public:
  explicit TomlMistakes(std::string source) : source_(std::move(source)) {}
  void add(uint32_t line, std::string_view message) { lines_.emplace(line, std::string(message)); }
  bool empty() const { return lines_.empty(); }
  // UsageError "<what>: N mistakes" and one "source:line: message" each.
  void throw_if_any(std::string_view what) const;
  const std::string& source() const { return source_; }

 private:
  std::string source_;
  std::multimap<uint32_t, std::string> lines_;
};

// UsageError with the line when the text is not TOML, or a key has more than 64 dots.
toml::table parse_toml(std::string_view text, std::string_view source);

// One table. Each read names a key that may stand there; finish() reports the others.
class TomlTable {
 public:
  // `path` is how people name it, e.g. "clip" or "category.hate"; empty = the whole file.
  TomlTable(const toml::table& table, std::string path, TomlMistakes& mistakes)
      : table_(&table), path_(std::move(path)), mistakes_(&mistakes) {}

  // True when the key is there and right; `value` is untouched otherwise.
  bool read(std::string_view key, bool& value);
  bool read(std::string_view key, int64_t& value, int64_t low, int64_t high);
  bool read(std::string_view key, double& value, double low, double high);
  bool read(std::string_view key, std::string& value, size_t max_bytes = 4096);
  bool read(std::string_view key, std::vector<std::string>& value);
  bool read(std::string_view key, std::vector<int64_t>& value, int64_t low, int64_t high);
  bool read(std::string_view key, std::vector<double>& value, size_t count, double low,
            double high);
  // One of the names; the index is returned, -1 when absent or wrong.
  int read_choice(std::string_view key, const std::vector<std::string>& choices);
  // A key that must be there.
  void require(std::string_view key);

  const toml::table* table(std::string_view key);
  // Every table of an array of tables.
  std::vector<const toml::table*> tables(std::string_view key);
  // Names of sub-tables under `key`, in file order.
  std::vector<std::pair<std::string, const toml::table*>> named_tables(std::string_view key);

  // Reports keys that were never read, with the closest that was.
  void finish();
  void mistake(std::string_view key, std::string_view message);
  // Of the key, or of the table when it is not there.
  uint32_t line(std::string_view key) const;
  std::string name(std::string_view key) const;
  const toml::table& raw() const { return *table_; }
  TomlMistakes& mistakes() { return *mistakes_; }

 private:
  const toml::node* find(std::string_view key);
  const toml::table* table_;
  std::string path_;
  TomlMistakes* mistakes_;
  std::set<std::string, std::less<>> known_;
};

// "; did you mean 'x'?" or "; known: a, b, c".
std::string name_hint(std::string_view name, const std::vector<std::string>& known);

}  // namespace parapet::guard
