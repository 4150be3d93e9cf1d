// A tokenizer of a vocabulary as model files embed it, run on texts: ids, decoded texts, streamed
// texts. Driven by tests/conformance/test_embedded_tokenizer.py: --vocabulary, --texts, --out are
// JSON files.
#include <iostream>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/text/embedded_vocabulary.h"

namespace parapet {
namespace {

using nlohmann::json;

EmbeddedVocabulary read_vocabulary(const json& object) {
  EmbeddedVocabulary from;
  from.model = object.at("model").get<std::string>();
  from.pre_tokenizer = object.value("pre", "");
  from.tokens = object.at("tokens").get<std::vector<std::string>>();
  from.types = object.value("types", std::vector<int64_t>());
  from.merges = object.value("merges", std::vector<std::string>());
  from.scores = object.value("scores", std::vector<double>());
  const auto id = [&](const char* name, std::optional<int64_t>& out) {
    if (object.contains(name)) out = object[name].get<int64_t>();
  };
  id("bos", from.bos);
  id("eos", from.eos);
  id("unknown", from.unknown);
  if (object.contains("add_bos")) from.add_bos = object["add_bos"].get<bool>();
  from.space_prefix = object.value("space_prefix", true);
  return from;
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  const auto stream = tokenizer.stream();
  std::string text;
  for (const int32_t id : ids) text += stream->push(id);
  return text + stream->finish();
}

// Items of the texts that are lists are ids already.
void run(const char* vocabulary, const char* texts, const char* out_file) {
  const auto tokenizer = make_tokenizer(read_vocabulary(load_json(vocabulary)), vocabulary);
  json out = {{"ids", json::array()}, {"texts", json::array()}, {"streamed", json::array()}};
  for (const json& item : load_json(texts)) {
    const auto ids = item.is_array() ? item.get<std::vector<int32_t>>()
                                     : tokenizer->encode(item.get<std::string>());
    out["ids"].push_back(ids);
    out["texts"].push_back(tokenizer->decode(ids));
    out["streamed"].push_back(streamed(*tokenizer, ids));
  }
  save_json(out_file, out);
}

}  // namespace
}  // namespace parapet

int main(int argc, char** argv) {
  try {
    if (argc != 7) throw parapet::UsageError("--vocabulary V --texts T --out O");
    parapet::run(argv[2], argv[4], argv[6]);
    return 0;
  } catch (const parapet::Error& error) {
    std::cerr << error.what() << std::endl;
    return error.exit_code();
  }
}
