// CLIP's tokenizer from its published vocabulary file. Expected ids: transformers CLIPTokenizer.
#include "parapet/text/clip_vocabulary.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "parapet/core/error.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<int32_t>;

fs::path vocabulary_file() {
  return fs::path(PARAPET_SOURCE_DIR) / ".cache/assets/bpe_simple_vocab_16e6.txt.gz";
}

const Tokenizer& clip() {
  static const auto tokenizer = load_clip_tokenizer(vocabulary_file());
  return *tokenizer;
}

TEST(ClipTokenizer, EncodesACaption) {
  EXPECT_EQ(clip().encode("a photo of a cat"), (Ids{49406, 320, 1125, 539, 320, 2368, 49407}));
  EXPECT_EQ(clip().encode("  A  PHOTO\tof a\ncat "), clip().encode("a photo of a cat"));
}

}  // namespace
}  // namespace parapet
