#include "parapet/text/clip_vocabulary.h"

#include <zlib.h>

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/text/bpe_tokenizer.h"
#include "parapet/text/byte_alphabet.h"
#include "parapet/text/vocabulary_files.h"

namespace parapet {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr size_t kMerges = 49152 - 256 - 2;  // the file holds more; CLIP uses the first ones
constexpr int64_t kMaxUnpacked = 64 << 20;
constexpr const char* kStart = "<|startoftext|>";
constexpr const char* kEnd = "<|endoftext|>";

std::string unpack_gzip(const std::string& packed, const std::string& source) {
  z_stream stream{};
  if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) throw DataError(source, "zlib failed");
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string out;
  int rc = Z_OK;
  while (rc == Z_OK && static_cast<int64_t>(out.size()) < kMaxUnpacked) {
    char buffer[1 << 16];
    stream.next_out = reinterpret_cast<Bytef*>(buffer);
    stream.avail_out = sizeof buffer;
    rc = inflate(&stream, Z_NO_FLUSH);
    out.append(buffer, sizeof buffer - stream.avail_out);
  }
  inflateEnd(&stream);
  if (rc != Z_STREAM_END) throw DataError(source, "not a whole gzip file");
  return out;
}

// The byte alphabet in the order of CLIP's vocabulary: bytes that stand for themselves, the others.
std::vector<std::string> alphabet_in_order() {
  std::vector<std::string> themselves, others;
  for (const std::string& symbol : text::byte_alphabet()) {
    const auto lead = static_cast<unsigned char>(symbol[0]);
    (lead >= 0xC4 ? others : themselves).push_back(symbol);  // U+0100 starts at lead byte C4
  }
  themselves.insert(themselves.end(), others.begin(), others.end());
  return themselves;
}

struct ClipVocabulary {
  std::vector<std::string> tokens;                          // by id
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
};

ClipVocabulary read_vocabulary(const fs::path& bpe_gz) {
  const std::string source = bpe_gz.string();
  const std::string text = unpack_gzip(read_file(bpe_gz, kMaxUnpacked), source);
  ClipVocabulary result;
  result.tokens = alphabet_in_order();
  for (size_t i = 0; i < 256; ++i) result.tokens.push_back(result.tokens[i] + "</w>");
  size_t from = text.find('\n');  // the first line is a version
  while (result.merges.size() < kMerges && from != std::string::npos) {
    const size_t end = text.find('\n', from + 1);
    const std::string line = text.substr(from + 1, end == std::string::npos ? end : end - from - 1);
    const size_t space = line.find(' ');
    if (space == std::string::npos) break;
    result.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
    result.tokens.push_back(result.merges.back().first + result.merges.back().second);
    from = end;
  }
  if (result.merges.size() != kMerges)
    throw DataError(
        source,
        "holds " + std::to_string(result.merges.size()) + " merges, not " + std::to_string(kMerges),
        "Use bpe_simple_vocab_16e6.txt.gz.");
  result.tokens.insert(result.tokens.end(), {kStart, kEnd});
  return result;
}

json vocabulary_json(const ClipVocabulary& vocabulary) {
  json vocab = json::object();
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) vocab[vocabulary.tokens[i]] = i;
  return vocab;
}

json merges_json(const ClipVocabulary& vocabulary) {
  json merges = json::array();
  for (const auto& [left, right] : vocabulary.merges) merges.push_back({left, right});
  return merges;
}

json config_json(int64_t model_max_length) {
  return {{"tokenizer_class", "CLIPTokenizer"},
          {"bos_token", kStart},
          {"eos_token", kEnd},
          {"pad_token", kEnd},
          {"unk_token", kEnd},
          {"model_max_length", model_max_length}};
}

}  // namespace

std::shared_ptr<const Tokenizer> load_clip_tokenizer(const fs::path& bpe_gz) {
  const ClipVocabulary vocabulary = read_vocabulary(bpe_gz);
  const std::string source = bpe_gz.string();
  const json root =
      text::clip_tokenizer_json(vocabulary_json(vocabulary), merges_json(vocabulary), source);
  return std::make_shared<text::BpeTokenizer>(root, config_json(77), source);
}

void write_clip_tokenizer(const fs::path& bpe_gz, const fs::path& model_dir,
                          int64_t model_max_length) {
  const ClipVocabulary vocabulary = read_vocabulary(bpe_gz);
  const json vocab = vocabulary_json(vocabulary);
  std::error_code error;
  fs::create_directories(model_dir, error);
  if (error) throw DataError(model_dir.string(), "cannot create the folder: " + error.message());
  std::string merges = "#version: 0.2\n";
  for (const auto& [left, right] : vocabulary.merges) merges += left + " " + right + "\n";
  write_file_atomic(model_dir / "merges.txt", merges);
  write_file_atomic(model_dir / "vocab.json", vocab.dump());
  const json root = text::clip_tokenizer_json(vocab, merges_json(vocabulary),
                                              (model_dir / "vocab.json").string());
  write_file_atomic(model_dir / "tokenizer.json", root.dump());
  const json config = config_json(model_max_length);
  save_json(model_dir / "tokenizer_config.json", config);
  save_json(model_dir / "special_tokens_map.json",
            {{"bos_token", kStart}, {"eos_token", kEnd}, {"pad_token", kEnd}, {"unk_token", kEnd}});
}

}  // namespace parapet
