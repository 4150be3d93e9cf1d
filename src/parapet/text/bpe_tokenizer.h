// The engine: the stages of a tokenizer.json in order.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/text/added_tokens.h"
#include "parapet/text/bpe_model.h"
#include "parapet/text/decoder.h"
#include "parapet/text/normalizer.h"
#include "parapet/text/post_processor.h"
#include "parapet/text/pre_tokenizer.h"
#include "parapet/text/tokenizer.h"

namespace parapet::text {

// Longest text that encode takes, in bytes. The reference has no bound; a single word of this size
// takes seconds.
inline constexpr size_t kMaxTextBytes = size_t{32} << 20;

class BpeTokenizer : public Tokenizer {
 public:
  // `root` is the content of tokenizer.json; `config` that of tokenizer_config.json (may be null),
  // for the names of the special tokens and model_max_length.
  BpeTokenizer(const nlohmann::json& root, const nlohmann::json& config, std::string_view source);

  std::vector<int32_t> encode(std::string_view text, const EncodeOptions& options) const override;
  std::string decode(const std::vector<int32_t>& ids, bool skip_special) const override;
  std::unique_ptr<DecodeStream> stream(bool skip_special) const override;
  int64_t vocab_size() const override;
  int32_t token_id(std::string_view token) const override;
  int32_t bos_id() const override { return bos_; }
  int32_t eos_id() const override { return eos_; }
  int32_t pad_id() const override { return pad_; }
  bool is_marker(int32_t id) const override;
  int64_t model_max_length() const override { return model_max_length_; }

 private:
  void load_names(const nlohmann::json& root, const nlohmann::json& config,
                  std::string_view source);
  void encode_raw(std::string_view text, size_t limit, std::vector<int32_t>& ids) const;
  void encode_normalized(std::string_view text, bool at_start, size_t limit,
                         std::vector<int32_t>& ids) const;
  void encode_words(std::string_view text, bool at_start, size_t limit,
                    std::vector<int32_t>& ids) const;
  void encode_word(std::string_view word, std::vector<int32_t>& ids) const;
  // What the decoder is given for an id; null for nothing.
  const std::string* decoded_token(int32_t id, bool skip_special) const;

  std::string source_;
  uint64_t instance_;  // key of the word caches
  std::unique_ptr<Normalizer> normalizer_;
  PreTokenizers pre_tokenizers_;
  BpeModel model_;
  PostProcessor post_;
  std::unique_ptr<Decoder> decoder_;
  AddedTokens added_;
  bool truncate_left_ = false;
  // Words are split off before the model, so caching them pays.
  bool cache_words_ = false;
  // CLIP: `transformers` turns the suffix left by the decoder into spaces.
  std::string decoded_suffix_;
  int32_t bos_ = -1, eos_ = -1, pad_ = -1;
  int64_t model_max_length_ = 0;
};

}  // namespace parapet::text
