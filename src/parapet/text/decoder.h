// The `decoder` section of tokenizer.json: tokens back to text.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/text/decoder_stream.h"

namespace parapet::text {

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Rewrites the tokens; the text is their concatenation afterwards.
  virtual void apply(std::vector<std::string>& tokens) const = 0;
  // The same for tokens that come one by one; the decoder must outlive it. With `fused`, what comes
  // are pieces of a single token, because a stage before fuses. A decoder that needs the whole says
  // nothing before the end.
  virtual std::unique_ptr<DecoderStream> stream(bool fused) const;
  // Whether apply() leaves a single token.
  virtual bool fuses() const { return false; }
};

// ByteLevel, BPEDecoder, Metaspace, Fuse, ByteFallback, Replace, Strip, Sequence. Null for JSON
// null (the text is then the tokens joined by spaces). DataError names any other type.
std::unique_ptr<Decoder> load_decoder(const nlohmann::json& section, std::string_view source);

}  // namespace parapet::text
