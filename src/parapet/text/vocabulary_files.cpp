#include "parapet/text/vocabulary_files.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/text/tokenizer_sections.h"

namespace parapet::text {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kClipStart = "<|startoftext|>";
constexpr const char* kClipEnd = "<|endoftext|>";
constexpr const char* kClipPattern =
    R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+)";

json clip_normalizer() {
  return {{"type", "Sequence"},
          {"normalizers",
           {{{"type", "NFC"}},
            {{"type", "Replace"}, {"pattern", {{"Regex", "\\s+"}}}, {"content", " "}},
            {{"type", "Lowercase"}}}}};
}

json clip_pre_tokenizer() {
  return {{"type", "Sequence"},
          {"pretokenizers",
           {{{"type", "Split"},
             {"pattern", {{"Regex", kClipPattern}}},
             {"behavior", "Removed"},
             {"invert", true}},
            byte_level_json(false)}}};
}

json read_merges(const fs::path& file) {
  json merges = json::array();
  const std::string text = read_file(file);
  int64_t number = 0;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t newline = rest.find('\n');
    std::string_view line = rest.substr(0, newline);
    rest.remove_prefix(newline == std::string_view::npos ? rest.size() : newline + 1);
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    const size_t space = line.find(' ');
    if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos)
      throw DataError(file.string() + ":" + std::to_string(number),
                      "a merge must be two tokens and one space");
    merges.push_back({line.substr(0, space), line.substr(space + 1)});
  }
  return merges;
}

}  // namespace

json clip_tokenizer_json(const json& vocab, const json& merges, std::string_view source) {
  const auto id = [&](const char* token) {
    return json(json_field<int64_t>(vocab, token, source));
  };
  const json post = {{"type", "RobertaProcessing"},
                     {"sep", {kClipEnd, id(kClipEnd)}},
                     {"cls", {kClipStart, id(kClipStart)}},
                     {"trim_offsets", false},
                     {"add_prefix_space", false}};
  return tokenizer_json(
      {special_token_json(kClipStart, id(kClipStart)), special_token_json(kClipEnd, id(kClipEnd))},
      clip_normalizer(), clip_pre_tokenizer(), post, byte_level_json(true),
      bpe_model_json(vocab, merges, kClipEnd, "</w>"));
}

json gpt2_tokenizer_json(const json& vocab, const json& merges) {
  json added = json::array();
  if (vocab.contains(kClipEnd)) added.push_back(special_token_json(kClipEnd, vocab[kClipEnd]));
  return tokenizer_json(std::move(added), nullptr, byte_level_json(false), byte_level_json(false),
                        byte_level_json(true), bpe_model_json(vocab, merges));
}

json tokenizer_json_from_files(const fs::path& vocab_file, const fs::path& merges_file,
                               const json& config) {
  const json vocab = load_json(vocab_file);
  const std::string source = vocab_file.string();
  if (!vocab.is_object()) throw DataError(source, "must be an object of token: id");
  std::string type;
  if (config.is_object()) type = json_field_or<std::string>(config, "tokenizer_class", "", source);
  if (type.ends_with("Fast")) type.resize(type.size() - 4);
  if (type.empty()) type = vocab.contains(kClipStart) ? "CLIPTokenizer" : "GPT2Tokenizer";
  const json merges = read_merges(merges_file);
  if (type == "CLIPTokenizer") return clip_tokenizer_json(vocab, merges, source);
  if (type == "GPT2Tokenizer") return gpt2_tokenizer_json(vocab, merges);
  throw DataError(
      source, "tokenizer class '" + type + "' needs a tokenizer.json",
      "Save it in Python with AutoTokenizer.from_pretrained(...).save_pretrained(...).");
}

}  // namespace parapet::text
