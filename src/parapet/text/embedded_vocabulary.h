// A tokenizer as model files embed it (GGUF): lists of tokens and merges, and the name of the way
// to cut text, instead of a tokenizer.json.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/text/tokenizer.h"

namespace parapet {

struct EmbeddedVocabulary {
  // What a token is, as the files number it; tokens of other numbers are ordinary.
  enum TokenType : int64_t { kUnknown = 2, kControl = 3, kUserDefined = 4 };

  std::string model;                // "gpt2": bytes as letters; "llama": SentencePiece's BPE
  std::string pre_tokenizer;        // of gpt2: "smollm", "llama-bpe", "qwen2", "gpt-2"
  std::vector<std::string> tokens;  // the id is the place
  std::vector<int64_t> types;       // of each token; empty = all ordinary
  std::vector<std::string> merges;  // "left right", best first; llama may leave them out
  std::vector<double> scores;       // of each token, where llama's merges come from
  std::optional<int64_t> bos, eos, unknown, padding;  // ids
  std::optional<bool> add_bos;  // what encode() puts in front; absent = as the model is known
  std::optional<bool> add_eos;  // and behind; absent = nothing
  bool space_prefix = true;     // llama: a text begins as if a space stood before it
  int64_t max_length = 0;       // tokens that the model can see; 0 = not known
};

// DataError names `source`, the list and the entry at fault: an unknown model or pre-tokenizer,
// tokens that repeat or are no UTF-8, ids outside the list, lists of another length than the
// tokens, merges of tokens that are not there.
std::shared_ptr<const Tokenizer> make_tokenizer(const EmbeddedVocabulary& vocabulary,
                                                std::string_view source);

namespace text {

// The same as a tokenizer.json, equal to the one that the model's authors published.
nlohmann::json embedded_tokenizer_json(const EmbeddedVocabulary& vocabulary,
                                       std::string_view source);

// Merges of a SentencePiece vocabulary: every way to make a token of two others, tokens of the
// highest score first, in the order that `transformers` puts them. Tokens are valid UTF-8.
std::vector<std::pair<std::string, std::string>> merges_from_scores(
    const std::vector<std::string>& tokens, const std::vector<double>& scores);

}  // namespace text
}  // namespace parapet
