// The `decoder` section of tokenizer.json: tokens back to text.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace parapet::text {

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Rewrites the tokens; the text is their concatenation afterwards.
  virtual void apply(std::vector<std::string>& tokens) const = 0;
};

// ByteLevel, BPEDecoder, Metaspace, Fuse, ByteFallback, Replace, Strip, Sequence. Null for JSON
// null (the text is then the tokens joined by spaces). DataError names any other type.
std::unique_ptr<Decoder> load_decoder(const nlohmann::json& section, std::string_view source);

}  // namespace parapet::text
