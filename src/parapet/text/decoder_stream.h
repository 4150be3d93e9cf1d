// Decoding of tokens that come one by one.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace parapet::text {

// What a decoder does, spread over time: everything pushed out, in order, is what it makes of all
// tokens at once.
class DecoderStream {
 public:
  virtual ~DecoderStream() = default;
  // Appends to `out` what can no longer change.
  virtual void push(std::string token, std::vector<std::string>& out) = 0;
  // Appends the rest. Nothing may be pushed afterwards.
  virtual void finish(std::vector<std::string>& out) = 0;
};

// Each token on its own.
std::unique_ptr<DecoderStream> token_stream(std::function<void(std::string&)> change);
// Keeps everything to the end. With `fused` the tokens are pieces of one.
std::unique_ptr<DecoderStream> whole_stream(std::function<void(std::vector<std::string>&)> change,
                                            bool fused);
// The tokens' bytes as one text, repaired as repair_utf8; a character is out once it is complete.
std::unique_ptr<DecoderStream> repairing_stream(
    std::function<std::string(const std::string&)> bytes_of);
// Takes up to `count` copies of `content` from the front of the text.
std::unique_ptr<DecoderStream> stripping_stream(std::string content, int64_t count);
// One after the other.
std::unique_ptr<DecoderStream> chained_stream(std::vector<std::unique_ptr<DecoderStream>> stages);
// The tokens with a space between them.
std::unique_ptr<DecoderStream> joining_stream();

}  // namespace parapet::text
