#include "parapet/text/bpe_model.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/utf8.h"
#include "parapet/text/byte_alphabet.h"

namespace parapet::text {
namespace {

using nlohmann::json;

constexpr int64_t kMaxId = 16'000'000;  // far above real vocabularies; bounds the allocation

std::string byte_token(int byte) {
  constexpr const char* kDigits = "0123456789ABCDEF";
  return std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 15] + ">";
}

// "left right" or ["left", "right"].
std::pair<std::string, std::string> merge_pair(const json& rule, const std::string& place) {
  if (rule.is_string()) {
    const auto& line = rule.get_ref<const std::string&>();
    const size_t space = line.find(' ');
    if (space != std::string::npos && line.find(' ', space + 1) == std::string::npos)
      return {line.substr(0, space), line.substr(space + 1)};
  } else if (rule.is_array() && rule.size() == 2 && rule[0].is_string() && rule[1].is_string()) {
    return {rule[0].get<std::string>(), rule[1].get<std::string>()};
  }
  throw DataError(place, "a merge must be \"left right\" or [\"left\", \"right\"]");
}

}  // namespace

BpeModel::BpeModel(const json& section, std::string_view source) {
  // Files of early versions of the format have no type.
  const auto type = json_field_or<std::string>(section, "type", "BPE", source);
  const std::string place = std::string(source) + ": model";
  if (type != "BPE")
    throw DataError(source, "model type '" + type + "' is not supported; only BPE is");
  if (json_field_or<double>(section, "dropout", 0, place) > 0)
    throw DataError(place, "BPE dropout makes ids random", "Set 'dropout' to null.");
  prefix_ = json_field_or<std::string>(section, "continuing_subword_prefix", "", place);
  suffix_ = json_field_or<std::string>(section, "end_of_word_suffix", "", place);
  fuse_unk_ = json_field_or<bool>(section, "fuse_unk", false, place);
  byte_fallback_ = json_field_or<bool>(section, "byte_fallback", false, place);
  ignore_merges_ = json_field_or<bool>(section, "ignore_merges", false, place);
  load_vocabulary(section, place);
  load_merges(section, place);
  load_byte_symbols();
  const auto unk = json_field_or<std::string>(section, "unk_token", "", place);
  if (!unk.empty() && (unk_ = id(unk)) < 0)
    throw DataError(place, "unk_token '" + unk + "' is not in the vocabulary");
}

void BpeModel::load_vocabulary(const json& section, std::string_view source) {
  const auto vocab = section.find("vocab");
  if (vocab == section.end() || !vocab->is_object())
    throw DataError(source, "field 'vocab' must be an object of token: id");
  int64_t max_id = -1;
  for (const auto& [token, value] : vocab->items()) {
    const int64_t id = value.is_number_integer() ? value.get<int64_t>() : -1;
    if (id < 0 || id > kMaxId)
      throw DataError(source, "the id of token '" + token + "' must be an integer in 0.." +
                                  std::to_string(kMaxId));
    max_id = std::max(max_id, id);
  }
  tokens_.resize(static_cast<size_t>(max_id + 1));
  std::vector<bool> taken(tokens_.size());
  ids_.reserve(vocab->size());
  for (const auto& [token, value] : vocab->items()) {
    const auto id = value.get<int32_t>();
    const auto slot = static_cast<size_t>(id);
    if (taken[slot])
      throw DataError(source, "tokens '" + tokens_[slot] + "' and '" + token +
                                  "' have the same id " + std::to_string(id));
    taken[slot] = true;
    tokens_[slot] = token;
    ids_.emplace(tokens_[slot], id);
  }
}

void BpeModel::load_merges(const json& section, std::string_view source) {
  const auto rules = section.find("merges");
  if (rules == section.end() || !rules->is_array())
    throw DataError(source, "field 'merges' must be a list");
  merges_.reserve(rules->size());
  int32_t rank = 0;
  for (const json& rule : *rules) {
    const std::string place = std::string(source) + ": merges[" + std::to_string(rank) + "]";
    const auto [left, right] = merge_pair(rule, place);
    const auto known = [&](const std::string& token) {
      const int32_t found = id(token);
      if (found < 0) throw DataError(place, "token '" + token + "' is not in the vocabulary");
      return found;
    };
    const int32_t left_id = known(left), right_id = known(right);
    const bool continues = !prefix_.empty() && right.starts_with(prefix_);
    merges_.add(left_id, right_id, rank,
                known(left + (continues ? right.substr(prefix_.size()) : right)));
    ++rank;
  }
}

void BpeModel::load_byte_symbols() {
  for (int byte = 0; byte < 256; ++byte) {
    const auto b = static_cast<size_t>(byte);
    fallback_ids_[b] = id(byte_token(byte));
    for (const size_t inner : {0, 1})
      for (const size_t last : {0, 1})
        byte_ids_[inner][last][b] =
            id((inner ? prefix_ : "") + byte_alphabet()[b] + (last ? suffix_ : ""));
  }
}

int32_t BpeModel::id(std::string_view token) const {
  const auto it = ids_.find(token);
  return it == ids_.end() ? -1 : it->second;
}

const std::string* BpeModel::token(int32_t id) const {
  if (id < 0 || id > max_id()) return nullptr;
  const std::string& token = tokens_[static_cast<size_t>(id)];
  return token.empty() && this->id(token) != id ? nullptr : &token;
}

bool BpeModel::byte_symbols(std::string_view word, std::vector<int32_t>& symbols) const {
  symbols.resize(word.size());
  for (size_t i = 0; i < word.size(); ++i) {
    const size_t inner = i > 0, last = i + 1 == word.size();
    symbols[i] = byte_ids_[inner][last][static_cast<unsigned char>(word[i])];
    if (symbols[i] < 0) return false;
  }
  return true;
}

bool BpeModel::byte_fallback(std::string_view symbol, std::vector<int32_t>& symbols) const {
  if (!byte_fallback_) return false;
  for (const char c : symbol)
    if (fallback_ids_[static_cast<unsigned char>(c)] < 0) return false;
  for (const char c : symbol) symbols.push_back(fallback_ids_[static_cast<unsigned char>(c)]);
  return true;
}

void BpeModel::character_symbols(std::string_view word, std::vector<int32_t>& symbols) const {
  symbols.clear();
  std::string affixed;
  bool unk_pending = false;
  for (size_t i = 0; i < word.size();) {
    const size_t end = i + code_point_length(word[i]);
    std::string_view symbol = word.substr(i, end - i);
    const bool prefixed = i > 0 && !prefix_.empty();
    const bool suffixed = end == word.size() && !suffix_.empty();
    if (prefixed || suffixed) {
      affixed = prefixed ? prefix_ : "";
      affixed += symbol;
      if (suffixed) affixed += suffix_;
      symbol = affixed;
    }
    i = end;
    const int32_t found = id(symbol);
    if (found >= 0) {
      if (unk_pending) symbols.push_back(unk_);
      unk_pending = false;
      symbols.push_back(found);
      continue;
    }
    // As in the reference, a pending unknown stays pending across a byte fallback.
    if (byte_fallback(symbol, symbols) || unk_ < 0) continue;
    if (unk_pending && !fuse_unk_) symbols.push_back(unk_);
    unk_pending = true;
  }
  if (unk_pending) symbols.push_back(unk_);
}

void BpeModel::encode(std::string_view word, bool byte_level, std::vector<int32_t>& ids) const {
  if (word.empty()) return;
  thread_local std::vector<int32_t> symbols;
  thread_local std::string mapped;
  const bool direct = byte_level && byte_symbols(word, symbols);
  if (!direct || ignore_merges_) {
    if (byte_level) {
      mapped.clear();
      append_byte_level(mapped, word);
      word = mapped;
    }
    if (ignore_merges_) {
      const int32_t whole = id(word);
      if (whole >= 0) return ids.push_back(whole);
    }
    if (!direct) character_symbols(word, symbols);
  }
  merges_.apply(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

}  // namespace parapet::text
