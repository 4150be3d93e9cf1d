// Tokenizer engine for Hugging Face `tokenizer.json` (BPE family) and CLIP's vocab.json +
// merges.txt.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace parapet {

struct EncodeOptions {
  bool add_special_tokens = true;  // begin and end of text by the file's post-processor
  int64_t max_length = 0;          // > 0: truncate as `transformers` does (special tokens kept)
};

// Text of ids that come one by one, for streaming. All pieces together are what decode() gives for
// all ids, and each is whole UTF-8: a character that takes several ids comes with its last one.
class DecodeStream {
 public:
  virtual ~DecodeStream() = default;
  // What can be said now; often empty within a character.
  virtual std::string push(int32_t id) = 0;
  // The rest: what never became a whole character is U+FFFD, as in decode(). Call once, at the end.
  virtual std::string finish() = 0;
};

class Tokenizer {
 public:
  // A model folder (tokenizer.json; else vocab.json + merges.txt), or one of those files.
  // DataError names what is missing, malformed or not supported (model type, pre-tokenizer ...).
  static std::shared_ptr<const Tokenizer> load(const std::filesystem::path& path);

  virtual ~Tokenizer() = default;
  // Ids equal those of Hugging Face `tokenizers`. Text must be UTF-8; bytes that are not are
  // replaced by U+FFFD as Python's errors="replace" does. Thread-safe.
  virtual std::vector<int32_t> encode(std::string_view text,
                                      const EncodeOptions& options = {}) const = 0;
  virtual std::string decode(const std::vector<int32_t>& ids, bool skip_special = true) const = 0;
  // The tokenizer must outlive the stream. A decoder that needs the whole text (CLIP's) says
  // nothing before finish().
  virtual std::unique_ptr<DecodeStream> stream(bool skip_special = true) const;
  virtual int64_t vocab_size() const = 0;
  // -1 when there is none.
  virtual int32_t token_id(std::string_view token) const = 0;
  virtual int32_t bos_id() const = 0;
  virtual int32_t eos_id() const = 0;
  virtual int32_t pad_id() const = 0;
  // Whether the id says something to the model instead of standing for letters: begin and end of
  // text, other special tokens, added tokens behind the end of text's id (where a model that pools
  // at the highest id looks). A model may stop reading there. Not padding of its own.
  virtual bool is_marker(int32_t id) const = 0;
  // From tokenizer_config.json `model_max_length` when sane, else 0.
  virtual int64_t model_max_length() const = 0;
};

}  // namespace parapet
