#include "parapet/text/decoder_stream.h"

#include "parapet/core/utf8.h"

namespace parapet::text {
namespace {

using Tokens = std::vector<std::string>;

class TokenStream : public DecoderStream {
 public:
  explicit TokenStream(std::function<void(std::string&)> change) : change_(std::move(change)) {}
  void push(std::string token, Tokens& out) override {
    change_(token);
    out.push_back(std::move(token));
  }
  void finish(Tokens&) override {}

 private:
  std::function<void(std::string&)> change_;
};

class WholeStream : public DecoderStream {
 public:
  WholeStream(std::function<void(Tokens&)> change, bool fused)
      : change_(std::move(change)), fused_(fused) {
    if (fused) tokens_.emplace_back();
  }
  void push(std::string token, Tokens&) override {
    if (fused_)
      tokens_.front() += token;
    else
      tokens_.push_back(std::move(token));
  }
  void finish(Tokens& out) override {
    change_(tokens_);
    out.insert(out.end(), tokens_.begin(), tokens_.end());
  }

 private:
  std::function<void(Tokens&)> change_;
  bool fused_;
  Tokens tokens_;
};

class RepairingStream : public DecoderStream {
 public:
  explicit RepairingStream(std::function<std::string(const std::string&)> bytes_of)
      : bytes_of_(std::move(bytes_of)) {}
  void push(std::string token, Tokens& out) override {
    bytes_ += bytes_of_(token);
    put(bytes_.size() - incomplete_utf8_tail(bytes_), out);
  }
  void finish(Tokens& out) override { put(bytes_.size(), out); }

 private:
  void put(size_t count, Tokens& out) {
    if (count == 0) return;
    std::string storage;
    out.emplace_back(repair_utf8(std::string_view(bytes_).substr(0, count), storage));
    bytes_.erase(0, count);
  }
  std::function<std::string(const std::string&)> bytes_of_;
  std::string bytes_;
};

class StrippingStream : public DecoderStream {
 public:
  StrippingStream(std::string content, int64_t count)
      : content_(std::move(content)), left_(content_.empty() ? 0 : count) {}
  void push(std::string token, Tokens& out) override {
    text_ += token;
    for (; left_ > 0 && text_.starts_with(content_); --left_) text_.erase(0, content_.size());
    if (left_ > 0 && content_.starts_with(text_)) return;  // may yet become a copy
    left_ = 0;
    finish(out);
  }
  void finish(Tokens& out) override {
    if (!text_.empty()) out.push_back(std::move(text_));
    text_.clear();
  }

 private:
  std::string content_, text_;
  int64_t left_;
};

class ChainedStream : public DecoderStream {
 public:
  explicit ChainedStream(std::vector<std::unique_ptr<DecoderStream>> stages)
      : stages_(std::move(stages)) {}
  void push(std::string token, Tokens& out) override {
    Tokens tokens = {std::move(token)};
    run(0, std::move(tokens), out);
  }
  void finish(Tokens& out) override {
    for (size_t i = 0; i < stages_.size(); ++i) {
      Tokens rest;
      stages_[i]->finish(rest);
      run(i + 1, std::move(rest), out);
    }
  }

 private:
  void run(size_t stage, Tokens tokens, Tokens& out) {
    for (; stage < stages_.size(); ++stage) {
      Tokens next;
      for (std::string& token : tokens) stages_[stage]->push(std::move(token), next);
      tokens = std::move(next);
    }
    for (std::string& token : tokens) out.push_back(std::move(token));
  }
  std::vector<std::unique_ptr<DecoderStream>> stages_;
};

}  // namespace

std::unique_ptr<DecoderStream> token_stream(std::function<void(std::string&)> change) {
  return std::make_unique<TokenStream>(std::move(change));
}

std::unique_ptr<DecoderStream> whole_stream(std::function<void(Tokens&)> change, bool fused) {
  return std::make_unique<WholeStream>(std::move(change), fused);
}

std::unique_ptr<DecoderStream> repairing_stream(
    std::function<std::string(const std::string&)> bytes_of) {
  return std::make_unique<RepairingStream>(std::move(bytes_of));
}

std::unique_ptr<DecoderStream> stripping_stream(std::string content, int64_t count) {
  return std::make_unique<StrippingStream>(std::move(content), count);
}

std::unique_ptr<DecoderStream> chained_stream(std::vector<std::unique_ptr<DecoderStream>> stages) {
  return std::make_unique<ChainedStream>(std::move(stages));
}

std::unique_ptr<DecoderStream> joining_stream() {
  return token_stream([first = true](std::string& token) mutable {
    if (!first) token.insert(0, 1, ' ');
    first = false;
  });
}

}  // namespace parapet::text
