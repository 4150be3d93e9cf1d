#include "parapet/text/bpe_tokenizer.h"

#include <algorithm>
#include <atomic>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/core/utf8.h"
#include "parapet/text/unicode.h"
#include "parapet/text/word_cache.h"

namespace parapet::text {
namespace {

using nlohmann::json;

const json& section(const json& root, const char* name) {
  static const json null;
  const auto it = root.find(name);
  return it == root.end() ? null : *it;
}

const json& model_section(const json& root, std::string_view source) {
  if (!root.is_object()) throw DataError(source, "must be a JSON object");
  const json& model = section(root, "model");
  if (!model.is_object()) throw DataError(source, "field 'model' must be an object");
  return model;
}

uint64_t next_instance() {
  static std::atomic<uint64_t> count{0};
  return ++count;
}

// Buffers of one thread. encode() does not call itself.
struct Scratch {
  std::string repaired, normalized, spare;
  PieceList pieces;
  PieceList word_pieces;
};

Scratch& scratch() {
  thread_local Scratch instance;
  return instance;
}

// What Python's str.strip() takes for white space.
bool python_strips(char32_t cp) { return is_white_space(cp) || (cp >= 0x1C && cp <= 0x1F); }

std::string python_strip(std::string_view s) {
  while (!s.empty()) {
    size_t i = s.size();
    if (!python_strips(previous_code_point(s, i))) break;
    s.remove_suffix(s.size() - i);
  }
  while (!s.empty()) {
    size_t i = 0;
    if (!python_strips(next_code_point(s, i))) break;
    s.remove_prefix(i);
  }
  return std::string(s);
}

std::string replace_suffix(const std::string& text, const std::string& suffix) {
  std::string out;
  size_t from = 0;
  for (size_t at; (at = text.find(suffix, from)) != std::string::npos; from = at + suffix.size())
    out.append(text, from, at - from).append(" ");
  return python_strip(out.append(text, from));
}

// "<s>" or {"content": "<s>", ...}; empty when absent.
std::string token_name(const json& config, const char* field) {
  if (!config.is_object()) return "";
  const json& value = section(config, field);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string())
    return value["content"].get<std::string>();
  return "";
}

}  // namespace

BpeTokenizer::BpeTokenizer(const json& root, const json& config, std::string_view source)
    : source_(source),
      instance_(next_instance()),
      normalizer_(
          (model_section(root, source), load_normalizer(section(root, "normalizer"), source))),
      pre_tokenizers_(load_pre_tokenizers(section(root, "pre_tokenizer"), source)),
      model_(model_section(root, source), source),
      post_(load_post_processor(section(root, "post_processor"), source)),
      decoder_(load_decoder(section(root, "decoder"), source)),
      added_(
          section(root, "added_tokens"), normalizer_.get(),
          [this](std::string_view token) { return model_.id(token); }, source) {
  cache_words_ = !pre_tokenizers_.stages.empty();
  const json& decoder = section(root, "decoder");
  if (decoder.is_object() && decoder.value("type", "") == "ByteLevel")
    decoded_suffix_ = model_.end_of_word_suffix();
  load_names(root, config, source);
}

void BpeTokenizer::load_names(const json& root, const json& config, std::string_view source) {
  const auto id_of = [&](const char* field, int32_t fallback) {
    const int32_t id = token_id(token_name(config, field));
    return id >= 0 ? id : fallback;
  };
  bos_ = id_of("bos_token", post_.before.empty() ? -1 : post_.before.front());
  eos_ = id_of("eos_token", post_.after.empty() ? -1 : post_.after.back());
  // As in `transformers`, the sections for truncation and padding do nothing by themselves; they
  // say how a caller's max_length cuts, and which token pads.
  const json& truncation = section(root, "truncation");
  if (!truncation.is_null())
    truncate_left_ = json_field_or<std::string>(truncation, "direction", "Right", source) == "Left";
  const json& padding = section(root, "padding");
  const int64_t pad =
      padding.is_null() ? -1 : json_field_or<int64_t>(padding, "pad_id", -1, source);
  pad_ = id_of("pad_token", static_cast<int32_t>(pad));
  if (config.is_object()) {
    const json& length = section(config, "model_max_length");
    constexpr int64_t kSane = 100'000'000;  // the format writes 1e30 for "none"
    if (length.is_number_integer() && length.get<int64_t>() > 0 && length.get<int64_t>() < kSane)
      model_max_length_ = length.get<int64_t>();
    if (section(config, "truncation_side") == "left") truncate_left_ = true;
  }
}

std::vector<int32_t> BpeTokenizer::encode(std::string_view text,
                                          const EncodeOptions& options) const {
  if (text.size() > kMaxTextBytes)
    throw DataError(source_,
                    "a text of " + std::to_string(text.size()) + " bytes is longer than " +
                        std::to_string(kMaxTextBytes),
                    "Split it.");
  const int64_t added = options.add_special_tokens ? post_.added() : 0;
  if (options.max_length > 0 && options.max_length < added)
    throw UsageError("max_length " + std::to_string(options.max_length) +
                     " leaves no room for the " + std::to_string(added) + " special tokens");
  std::vector<int32_t> ids;
  if (options.add_special_tokens) ids = post_.before;
  size_t limit = SIZE_MAX;
  if (options.max_length > 0) limit = ids.size() + static_cast<size_t>(options.max_length - added);
  // A cut on the right needs no more ids than it keeps.
  encode_raw(repair_utf8(text, scratch().repaired), truncate_left_ ? SIZE_MAX : limit, ids);
  if (ids.size() > limit) {
    const auto first =
        ids.begin() +
        (options.add_special_tokens ? static_cast<ptrdiff_t>(post_.before.size()) : 0);
    if (truncate_left_)
      ids.erase(first, first + static_cast<ptrdiff_t>(ids.size() - limit));
    else
      ids.resize(limit);
  }
  if (options.add_special_tokens) ids.insert(ids.end(), post_.after.begin(), post_.after.end());
  return ids;
}

void BpeTokenizer::encode_raw(std::string_view text, size_t limit,
                              std::vector<int32_t>& ids) const {
  if (!added_.raw().may_match(text)) return encode_normalized(text, true, limit, ids);
  added_.raw().scan(
      text,
      [&](std::string_view gap) {
        if (ids.size() < limit) encode_normalized(gap, gap.data() == text.data(), limit, ids);
      },
      [&](int32_t id) { ids.push_back(id); });
}

void BpeTokenizer::encode_normalized(std::string_view text, bool at_start, size_t limit,
                                     std::vector<int32_t>& ids) const {
  Scratch& s = scratch();
  if (normalizer_) {
    s.normalized.assign(text);
    normalizer_->apply(s.normalized, s.spare);
    text = s.normalized;
  }
  if (!added_.normalized().may_match(text)) return encode_words(text, at_start, limit, ids);
  added_.normalized().scan(
      text,
      [&](std::string_view gap) {
        if (ids.size() < limit)
          encode_words(gap, at_start && gap.data() == text.data(), limit, ids);
      },
      [&](int32_t id) { ids.push_back(id); });
}

void BpeTokenizer::encode_words(std::string_view text, bool at_start, size_t limit,
                                std::vector<int32_t>& ids) const {
  if (text.empty()) return;
  PieceList& pieces = scratch().pieces;
  pieces.clear();
  pieces.items.push_back({text, at_start});
  for (const auto& stage : pre_tokenizers_.stages) stage->apply(pieces);
  for (const Piece& piece : pieces.items) {
    if (ids.size() >= limit) return;
    if (!cache_words_ || piece.text.size() > WordCache::kMaxWord) {
      encode_word(piece.text, ids);
      continue;
    }
    WordCache::Slot& slot = WordCache::of_thread(instance_).slot(piece.text);
    if (WordCache::holds(slot, piece.text)) {
      ids.insert(ids.end(), slot.ids, slot.ids + slot.count);
      continue;
    }
    const size_t before = ids.size();
    encode_word(piece.text, ids);
    WordCache::store(slot, piece.text, ids.data() + before, ids.size() - before);
  }
}

void BpeTokenizer::encode_word(std::string_view word, std::vector<int32_t>& ids) const {
  if (!pre_tokenizers_.last_split) return model_.encode(word, pre_tokenizers_.byte_level, ids);
  PieceList& pieces = scratch().word_pieces;
  pieces.clear();
  pieces.items.push_back({word, false});
  pre_tokenizers_.last_split->apply(pieces);
  for (const Piece& piece : pieces.items)
    model_.encode(piece.text, pre_tokenizers_.byte_level, ids);
}

const std::string* BpeTokenizer::decoded_token(int32_t id, bool skip_special) const {
  const AddedToken* added = added_.find(id);
  if (added == nullptr) return model_.token(id);
  return added->special && skip_special ? nullptr : &added->pattern;
}

std::string BpeTokenizer::decode(const std::vector<int32_t>& ids, bool skip_special) const {
  std::vector<std::string> tokens;
  for (const int32_t id : ids)
    if (const std::string* token = decoded_token(id, skip_special)) tokens.push_back(*token);
  std::string text;
  if (decoder_) decoder_->apply(tokens);
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (!decoder_ && i > 0) text += ' ';
    text += tokens[i];
  }
  return decoded_suffix_.empty() ? text : replace_suffix(text, decoded_suffix_);
}

std::unique_ptr<DecodeStream> BpeTokenizer::stream(bool skip_special) const {
  if (!decoded_suffix_.empty()) return Tokenizer::stream(skip_special);
  class Stream : public DecodeStream {
   public:
    Stream(const BpeTokenizer& tokenizer, bool skip_special)
        : tokenizer_(tokenizer),
          skip_special_(skip_special),
          stage_(tokenizer.decoder_ ? tokenizer.decoder_->stream(false) : joining_stream()) {}
    std::string push(int32_t id) override {
      std::vector<std::string> pieces;
      if (const std::string* token = tokenizer_.decoded_token(id, skip_special_))
        stage_->push(*token, pieces);
      return join(pieces, "");
    }
    std::string finish() override {
      std::vector<std::string> pieces;
      stage_->finish(pieces);
      return join(pieces, "");
    }

   private:
    const BpeTokenizer& tokenizer_;
    bool skip_special_;
    std::unique_ptr<DecoderStream> stage_;
  };
  return std::make_unique<Stream>(*this, skip_special);
}

int64_t BpeTokenizer::vocab_size() const {
  int64_t size = model_.size();
  for (const AddedToken& token : added_.tokens()) size += model_.id(token.content) < 0;
  return size;
}

bool BpeTokenizer::is_marker(int32_t id) const {
  if (id == bos_ || id == eos_) return true;
  if (id == pad_) return false;
  const AddedToken* added = added_.find(id);
  return added != nullptr && (added->special || (eos_ >= 0 && id > eos_));
}

int32_t BpeTokenizer::token_id(std::string_view token) const {
  if (token.empty()) return -1;
  const int32_t id = added_.id(token);
  return id >= 0 ? id : model_.id(token);
}

}  // namespace parapet::text
