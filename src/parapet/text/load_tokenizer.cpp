#include "parapet/text/tokenizer.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/text/bpe_tokenizer.h"
#include "parapet/text/vocabulary_files.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

// The special tokens' names: tokenizer_config.json, completed by special_tokens_map.json.
nlohmann::json load_config(const fs::path& folder) {
  nlohmann::json config = nlohmann::json::object();
  for (const char* name : {"special_tokens_map.json", "tokenizer_config.json"})
    if (fs::is_regular_file(folder / name)) {
      const nlohmann::json part = load_json(folder / name);
      if (!part.is_object()) throw DataError((folder / name).string(), "must be a JSON object");
      config.update(part);
    }
  return config;
}

}  // namespace

std::shared_ptr<const Tokenizer> Tokenizer::load(const fs::path& path) {
  if (!fs::exists(path))
    throw DataError(path.string(), "no such file or folder",
                    "Give a model folder with tokenizer.json, or with vocab.json and merges.txt.");
  const bool is_folder = fs::is_directory(path);
  const fs::path folder = is_folder ? path : path.parent_path();
  const nlohmann::json config = load_config(folder);
  const fs::path whole = is_folder ? path / "tokenizer.json" : path;
  const bool pair = path.filename() == "vocab.json" || path.filename() == "merges.txt";
  if (!pair && fs::is_regular_file(whole))
    return std::make_shared<text::BpeTokenizer>(load_json(whole), config, whole.string());
  const fs::path vocab = folder / "vocab.json", merges = folder / "merges.txt";
  if (!fs::is_regular_file(vocab) || !fs::is_regular_file(merges))
    throw DataError(folder.string(), "holds neither tokenizer.json nor vocab.json and merges.txt",
                    fs::is_regular_file(folder / "tokenizer.model")
                        ? "SentencePiece models: save a tokenizer.json with transformers first."
                        : "");
  return std::make_shared<text::BpeTokenizer>(
      text::tokenizer_json_from_files(vocab, merges, config), config, vocab.string());
}

}  // namespace parapet
