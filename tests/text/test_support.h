#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "parapet/core/error.h"
#include "parapet/text/clip_vocabulary.h"
#include "parapet/text/tokenizer.h"
#include "support/temp_folder.h"

namespace parapet {

inline std::filesystem::path clip_vocabulary_file() {
  return std::filesystem::path(PARAPET_SOURCE_DIR) / ".cache/assets/bpe_simple_vocab_16e6.txt.gz";
}

inline std::shared_ptr<const Tokenizer> clip_tokenizer() {
  static const auto tokenizer = load_clip_tokenizer(clip_vocabulary_file());
  return tokenizer;
}

inline std::filesystem::path golden_folder() {
  return std::filesystem::path(PARAPET_SOURCE_DIR) / "tests/goldens/tokenizers";
}

}  // namespace parapet
