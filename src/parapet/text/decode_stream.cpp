// Streaming for tokenizers that can only decode as a whole.
#include "parapet/text/tokenizer.h"

namespace parapet {
namespace {

class DecodeAtEnd : public DecodeStream {
 public:
  DecodeAtEnd(const Tokenizer& tokenizer, bool skip_special)
      : tokenizer_(tokenizer), skip_special_(skip_special) {}
  std::string push(int32_t id) override {
    ids_.push_back(id);
    return {};
  }
  std::string finish() override { return tokenizer_.decode(ids_, skip_special_); }

 private:
  const Tokenizer& tokenizer_;
  bool skip_special_;
  std::vector<int32_t> ids_;
};

}  // namespace

std::unique_ptr<DecodeStream> Tokenizer::stream(bool skip_special) const {
  return std::make_unique<DecodeAtEnd>(*this, skip_special);
}

}  // namespace parapet
