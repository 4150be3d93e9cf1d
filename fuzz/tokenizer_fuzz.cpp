// Any bytes as tokenizer.json: a DataError, or a tokenizer that encodes and decodes text.
#include "fuzz_file.h"
#include "parapet/core/error.h"
#include "parapet/text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const parapet::fuzz::FuzzFile file("tokenizer.json");
  try {
    const auto tokenizer = parapet::Tokenizer::load(file.write(data, size));
    const auto ids = tokenizer->encode("a Dog's caf\xC3\xA9 \xF0\x9F\x90\xB6 123\xFF");
    tokenizer->decode(ids);
  } catch (const parapet::DataError&) {
  }
  return 0;
}
