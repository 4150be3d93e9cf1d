#include "parapet/text/embedded_vocabulary.h"

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "parapet/core/error.h"
#include "parapet/core/utf8.h"
#include "parapet/text/bpe_tokenizer.h"
#include "parapet/text/tokenizer_sections.h"

namespace parapet {
namespace text {
namespace {

using nlohmann::json;

// Longer than any real token; bounds the search for merges.
constexpr size_t kMaxToken = 1024;

// How a family of byte-level models cuts text into words.
struct PreTokenizerKind {
  std::string_view name;
  const char* pattern;     // null: GPT-2's
  bool single_digits;      // every digit is cut off first
  bool whole_words_first;  // a word that is a token is not merged from its parts
  bool composed;           // text is normalised to NFC
  bool adds_bos;
};

constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The names are those that converters write.
constexpr std::array<PreTokenizerKind, 7> kKinds = {{
    {"gpt-2", nullptr, false, false, false, false},
    {"smollm", nullptr, true, false, false, false},
    {"llama-bpe", kLlama3, false, true, false, true},
    {"llama3", kLlama3, false, true, false, true},
    {"llama-v3", kLlama3, false, true, false, true},
    {"qwen2", kQwen2, false, false, true, false},
    {"deepseek-r1-qwen", kQwen2, false, false, true, false},
}};

class Builder {
 public:
  Builder(const EmbeddedVocabulary& vocabulary, std::string_view source)
      : from_(vocabulary), source_(source) {
    check_tokens();
    check_lists();
    check_id("bos", from_.bos);
    check_id("eos", from_.eos);
    check_id("unknown", from_.unknown);
    check_id("padding", from_.padding);
  }

  json build() const {
    if (from_.model == "gpt2") return byte_level();
    if (from_.model == "llama") return sentence_piece();
    fail("the tokenizer model '" + from_.model + "' is not supported",
         "Supported are gpt2 and llama.");
  }

 private:
  [[noreturn]] void fail(const std::string& problem, std::string_view hint = "") const {
    throw DataError(source_, problem, hint);
  }

  void check_tokens() {
    if (from_.tokens.empty()) fail("the tokenizer has no tokens");
    std::unordered_map<std::string_view, size_t> seen;
    for (size_t i = 0; i < from_.tokens.size(); ++i) {
      const std::string& token = from_.tokens[i];
      const std::string place = "token " + std::to_string(i);
      if (token.size() > kMaxToken)
        fail(place + " is " + std::to_string(token.size()) + " bytes long, the limit is " +
             std::to_string(kMaxToken));
      if (!is_valid_utf8(token)) fail(place + " is not UTF-8");
      const auto [it, fresh] = seen.emplace(token, i);
      if (!fresh)
        fail(place + " is '" + token + "', as token " + std::to_string(it->second) + " is");
    }
  }

  void check_lists() const {
    const auto same_length = [&](const char* name, size_t length) {
      if (length != 0 && length != from_.tokens.size())
        fail("the tokenizer has " + std::to_string(from_.tokens.size()) + " tokens, but " +
             std::to_string(length) + " " + name);
    };
    same_length("token types", from_.types.size());
    same_length("scores", from_.scores.size());
    for (size_t i = 0; i < from_.scores.size(); ++i)
      if (!std::isfinite(from_.scores[i]))
        fail("the score of token " + std::to_string(i) + " is no number");
    for (size_t i = 0; i < from_.merges.size(); ++i) {
      const std::string& merge = from_.merges[i];
      if (!is_valid_utf8(merge)) fail("merge " + std::to_string(i) + " is not UTF-8");
    }
  }

  void check_id(const char* name, const std::optional<int64_t>& id) const {
    if (id && (*id < 0 || *id >= static_cast<int64_t>(from_.tokens.size())))
      fail(std::string("the ") + name + " token's id is " + std::to_string(*id) +
           ", but there are " + std::to_string(from_.tokens.size()) + " tokens");
  }

  const std::string& token(int64_t id) const { return from_.tokens[static_cast<size_t>(id)]; }

  json vocab() const {
    json object = json::object();
    for (size_t i = 0; i < from_.tokens.size(); ++i) object[from_.tokens[i]] = i;
    return object;
  }

  // Tokens that are looked for in the text whole.
  json added() const {
    json list = json::array();
    for (size_t i = 0; i < from_.types.size(); ++i) {
      const int64_t type = from_.types[i];
      const bool special =
          type == EmbeddedVocabulary::kControl || type == EmbeddedVocabulary::kUnknown;
      if ((special || type == EmbeddedVocabulary::kUserDefined) && !from_.tokens[i].empty())
        list.push_back(added_token_json(from_.tokens[i], i, special));
    }
    return list;
  }

  json post_processor(bool adds_bos) const {
    json parts = json::array(), known = json::object();
    const auto special = [&](const std::optional<int64_t>& id, const char* name) {
      if (!id) fail(std::string("texts are to have a ") + name + " token, but none is named");
      parts.push_back({{"SpecialToken", {{"id", token(*id)}, {"type_id", 0}}}});
      known[token(*id)] = {{"id", token(*id)}, {"ids", {*id}}, {"tokens", {token(*id)}}};
    };
    if (from_.add_bos.value_or(adds_bos)) special(from_.bos, "bos");
    parts.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
    if (from_.add_eos.value_or(false)) special(from_.eos, "eos");
    if (parts.size() == 1) return nullptr;
    return {{"type", "TemplateProcessing"},
            {"single", parts},
            {"pair", json::array()},
            {"special_tokens", known}};
  }

  const PreTokenizerKind& kind() const {
    std::string known;
    for (const PreTokenizerKind& kind : kKinds) {
      if (kind.name == from_.pre_tokenizer) return kind;
      known += " " + std::string(kind.name);
    }
    fail(from_.pre_tokenizer.empty()
             ? "the tokenizer does not say how text is cut into words"
             : "the pre-tokenizer '" + from_.pre_tokenizer + "' is not supported",
         "Supported are:" + known + ".");
  }

  json byte_level() const {
    const PreTokenizerKind& how = kind();
    if (from_.merges.empty()) fail("a tokenizer of the model gpt2 needs merges");
    json stages = json::array();
    if (how.single_digits) stages.push_back({{"type", "Digits"}, {"individual_digits", true}});
    if (how.pattern != nullptr)
      stages.push_back({{"type", "Split"},
                        {"pattern", {{"Regex", how.pattern}}},
                        {"behavior", "Isolated"},
                        {"invert", false}});
    stages.push_back(byte_level_json(false, how.pattern == nullptr));
    json model = bpe_model_json(vocab(), from_.merges);
    model["ignore_merges"] = how.whole_words_first;
    return tokenizer_json(added(), how.composed ? json{{"type", "NFC"}} : json(),
                          {{"type", "Sequence"}, {"pretokenizers", stages}},
                          post_processor(how.adds_bos), byte_level_json(false), std::move(model));
  }

  json sentence_piece() const {
    json merges = from_.merges;
    if (from_.merges.empty()) {
      if (from_.scores.empty()) fail("a tokenizer of the model llama needs scores or merges");
      merges = merges_from_scores(from_.tokens, from_.scores);
    }
    json unk = nullptr;
    if (from_.unknown) unk = token(*from_.unknown);
    json model = bpe_model_json(vocab(), std::move(merges), std::move(unk));
    model["fuse_unk"] = true;
    model["byte_fallback"] = true;
    json decoders = {{{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}},
                     {{"type", "ByteFallback"}},
                     {{"type", "Fuse"}}};
    if (from_.space_prefix)
      decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
    const json metaspace = {{"type", "Metaspace"},
                            {"replacement", "\u2581"},
                            {"prepend_scheme", from_.space_prefix ? "first" : "never"},
                            {"split", false}};
    return tokenizer_json(added(), nullptr, metaspace, post_processor(true),
                          {{"type", "Sequence"}, {"decoders", decoders}}, std::move(model));
  }

  const EmbeddedVocabulary& from_;
  std::string_view source_;
};

}  // namespace

json embedded_tokenizer_json(const EmbeddedVocabulary& vocabulary, std::string_view source) {
  return Builder(vocabulary, source).build();
}

}  // namespace text

std::shared_ptr<const Tokenizer> make_tokenizer(const EmbeddedVocabulary& vocabulary,
                                                std::string_view source) {
  const nlohmann::json root = text::embedded_tokenizer_json(vocabulary, source);
  nlohmann::json config = {{"model_max_length", vocabulary.max_length}};
  const auto name = [&](const char* field, const std::optional<int64_t>& id) {
    if (id) config[field] = vocabulary.tokens[static_cast<size_t>(*id)];
  };
  name("bos_token", vocabulary.bos);
  name("eos_token", vocabulary.eos);
  name("pad_token", vocabulary.padding);
  return std::make_shared<text::BpeTokenizer>(root, config, source);
}

}  // namespace parapet
