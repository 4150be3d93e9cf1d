// The `normalizer` section of tokenizer.json.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string>
#include <string_view>

namespace parapet::text {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  // Rewrites `s` (valid UTF-8) in place; `scratch` is a buffer to reuse.
  virtual void apply(std::string& s, std::string& scratch) const = 0;
};

// NFC, NFD, NFKC, NFKD, Lowercase, Replace, Prepend, Strip, StripAccents, Sequence. Null for JSON
// null. DataError names any other type.
std::unique_ptr<Normalizer> load_normalizer(const nlohmann::json& section, std::string_view source);

}  // namespace parapet::text
