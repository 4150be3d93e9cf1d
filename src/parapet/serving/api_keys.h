// API keys, of which only hashes are kept.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace parapet::serving {

struct ApiKey {
  std::string name;
  std::string sha256;  // 64 lower-case hexadecimal digits of the key's SHA-256
  std::string tenant;  // of its requests; empty = as the request says
};

class ApiKeys {
 public:
  ApiKeys() = default;
  // Lines of "NAME SHA256 [TENANT]"; '#' begins a comment. UsageError lists every bad line, or says
  // that there is no key.
  static ApiKeys load(const std::filesystem::path& file);
  static ApiKeys parse(std::string_view text, std::string_view source);

  bool empty() const { return keys_.empty(); }
  // The key's entry, null when there is none. Takes the same time whatever is presented.
  const ApiKey* find(std::string_view presented) const;

 private:
  std::vector<ApiKey> keys_;
};

}  // namespace parapet::serving
