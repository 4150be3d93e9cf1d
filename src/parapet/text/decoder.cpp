#include "parapet/text/decoder.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/utf8.h"
#include "parapet/text/byte_alphabet.h"
#include "parapet/text/finder.h"

namespace parapet::text {
namespace {

using nlohmann::json;
using Tokens = std::vector<std::string>;

std::string replace_all(std::string_view s, std::string_view what, std::string_view with) {
  if (what.empty()) return std::string(s);
  std::string out;
  size_t from = 0;
  for (size_t at; (at = s.find(what, from)) != std::string_view::npos; from = at + what.size()) {
    out += s.substr(from, at - from);
    out += with;
  }
  return out += s.substr(from);
}

void fuse(Tokens& tokens) {
  std::string all;
  for (const std::string& token : tokens) all += token;
  tokens.assign(1, all);
}

class FuseDecoder : public Decoder {
 public:
  void apply(Tokens& tokens) const override { fuse(tokens); }
  std::unique_ptr<DecoderStream> stream(bool) const override {
    return token_stream([](std::string&) {});
  }
  bool fuses() const override { return true; }
};

// A token with a character outside the alphabet stands for its own bytes.
class ByteLevelDecoder : public Decoder {
 public:
  void apply(Tokens& tokens) const override {
    std::string bytes, storage;
    for (const std::string& token : tokens) bytes += bytes_of(token);
    tokens.assign(1, std::string(repair_utf8(bytes, storage)));
  }
  std::unique_ptr<DecoderStream> stream(bool fused) const override {
    return fused ? Decoder::stream(fused) : repairing_stream(bytes_of);
  }
  bool fuses() const override { return true; }

 private:
  static std::string bytes_of(const std::string& token) {
    std::string mapped;
    for (size_t i = 0; i < token.size();) {
      const int byte = byte_of(next_code_point(token, i));
      if (byte < 0) return token;
      mapped.push_back(static_cast<char>(byte));
    }
    return mapped;
  }
};

// The suffix that ends a word becomes a space, at the very end nothing.
class SuffixDecoder : public Decoder {
 public:
  explicit SuffixDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void apply(Tokens& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(tokens[i], suffix_, i + 1 == tokens.size() ? "" : " ");
  }

 private:
  std::string suffix_;
};

class MetaspaceDecoder : public Decoder {
 public:
  MetaspaceDecoder(std::string replacement, bool prepended)
      : replacement_(std::move(replacement)), prepended_(prepended) {}
  void apply(Tokens& tokens) const override {
    for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = with_spaces(tokens[i], i == 0);
  }
  std::unique_ptr<DecoderStream> stream(bool fused) const override {
    if (fused) return Decoder::stream(fused);
    return token_stream([this, first = true](std::string& token) mutable {
      token = with_spaces(token, first);
      first = false;
    });
  }

 private:
  std::string with_spaces(const std::string& token, bool first) const {
    return replace_all(token, replacement_, first && prepended_ ? "" : " ");
  }
  std::string replacement_;
  bool prepended_;
};

// The byte that a token "<0xAB>" stands for; -1 for any other token.
int byte_value(const std::string& token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
  };
  const int high = digit(token[3]), low = digit(token[4]);
  return high < 0 || low < 0 ? -1 : high * 16 + low;
}

// Runs of <0xAB> tokens become text; every byte of a run that is not UTF-8 becomes U+FFFD. So a run
// can be told only when it ends.
class ByteRuns : public DecoderStream {
 public:
  void push(std::string token, Tokens& out) override {
    const int byte = byte_value(token);
    if (byte >= 0) {
      run_.push_back(static_cast<char>(byte));
      return;
    }
    finish(out);
    out.push_back(std::move(token));
  }
  void finish(Tokens& out) override {
    if (is_valid_utf8(run_)) {
      if (!run_.empty()) out.push_back(run_);
    } else {
      out.insert(out.end(), run_.size(), "\uFFFD");
    }
    run_.clear();
  }

 private:
  std::string run_;
};

class ByteFallbackDecoder : public Decoder {
 public:
  void apply(Tokens& tokens) const override {
    Tokens out;
    ByteRuns runs;
    for (std::string& token : tokens) runs.push(std::move(token), out);
    runs.finish(out);
    tokens = std::move(out);
  }
  std::unique_ptr<DecoderStream> stream(bool fused) const override {
    return fused ? Decoder::stream(fused) : std::make_unique<ByteRuns>();
  }
};

class ReplaceDecoder : public Decoder {
 public:
  ReplaceDecoder(std::unique_ptr<Finder> finder, std::string content)
      : finder_(std::move(finder)), content_(std::move(content)) {}
  void apply(Tokens& tokens) const override {
    for (std::string& token : tokens) replace(token);
  }
  std::unique_ptr<DecoderStream> stream(bool fused) const override {
    if (fused) return Decoder::stream(fused);
    return token_stream([this](std::string& token) { replace(token); });
  }

 private:
  void replace(std::string& token) const {
    std::vector<Span> spans;
    find_spans(*finder_, token, spans);
    std::string out;
    for (const Span& span : spans)
      out += span.match ? content_ : token.substr(span.start, span.end - span.start);
    token = std::move(out);
  }
  std::unique_ptr<Finder> finder_;
  std::string content_;
};

// Removes up to `start` copies of a character in front of each token and `stop` behind it.
class StripDecoder : public Decoder {
 public:
  StripDecoder(std::string content, int64_t start, int64_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void apply(Tokens& tokens) const override {
    for (std::string& token : tokens) strip(token);
  }
  std::unique_ptr<DecoderStream> stream(bool fused) const override {
    if (!fused) return token_stream([this](std::string& token) { strip(token); });
    return stop_ > 0 ? Decoder::stream(fused) : stripping_stream(content_, start_);
  }

 private:
  void strip(std::string& token) const {
    std::string_view s = token;
    for (int64_t i = 0; i < start_ && s.starts_with(content_); ++i)
      s.remove_prefix(content_.size());
    for (int64_t i = 0; i < stop_ && s.ends_with(content_); ++i) s.remove_suffix(content_.size());
    token = std::string(s);
  }
  std::string content_;
  int64_t start_;
  int64_t stop_;
};

class SequenceDecoder : public Decoder {
 public:
  explicit SequenceDecoder(std::vector<std::unique_ptr<Decoder>> parts)
      : parts_(std::move(parts)) {}
  void apply(Tokens& tokens) const override {
    for (const auto& part : parts_) part->apply(tokens);
  }
  std::unique_ptr<DecoderStream> stream(bool fused) const override {
    std::vector<std::unique_ptr<DecoderStream>> stages;
    for (const auto& part : parts_) {
      stages.push_back(part->stream(fused));
      fused = fused || part->fuses();
    }
    return chained_stream(std::move(stages));
  }
  bool fuses() const override {
    return std::ranges::any_of(parts_, [](const auto& part) { return part->fuses(); });
  }

 private:
  std::vector<std::unique_ptr<Decoder>> parts_;
};

std::unique_ptr<Decoder> load_sequence(const json& section, std::string_view source) {
  const auto items = section.find("decoders");
  if (items == section.end() || !items->is_array())
    throw DataError(source, "a Sequence decoder needs the list 'decoders'");
  std::vector<std::unique_ptr<Decoder>> parts;
  for (const json& item : *items)
    if (auto part = load_decoder(item, source)) parts.push_back(std::move(part));
  return std::make_unique<SequenceDecoder>(std::move(parts));
}

std::unique_ptr<Decoder> load_metaspace(const json& section, const std::string& place) {
  const bool prefix = json_field_or<bool>(section, "add_prefix_space", true, place);
  const auto scheme =
      json_field_or<std::string>(section, "prepend_scheme", prefix ? "always" : "never", place);
  return std::make_unique<MetaspaceDecoder>(
      json_field_or<std::string>(section, "replacement", "\u2581", place), scheme != "never");
}

}  // namespace

std::unique_ptr<DecoderStream> Decoder::stream(bool fused) const {
  return whole_stream([this](Tokens& tokens) { apply(tokens); }, fused);
}

std::unique_ptr<Decoder> load_decoder(const json& section, std::string_view source) {
  if (section.is_null()) return nullptr;
  const auto type = json_field<std::string>(section, "type", source);
  const std::string place = std::string(source) + ": decoder " + type;
  if (type == "Sequence") return load_sequence(section, source);
  if (type == "ByteLevel") return std::make_unique<ByteLevelDecoder>();
  if (type == "Fuse") return std::make_unique<FuseDecoder>();
  if (type == "ByteFallback") return std::make_unique<ByteFallbackDecoder>();
  if (type == "Metaspace") return load_metaspace(section, place);
  if (type == "BPEDecoder")
    return std::make_unique<SuffixDecoder>(
        json_field_or<std::string>(section, "suffix", "</w>", place));
  if (type == "Replace")
    return std::make_unique<ReplaceDecoder>(
        finder_from_json(section.value("pattern", json()), place),
        json_field<std::string>(section, "content", place));
  if (type == "Strip")
    return std::make_unique<StripDecoder>(json_field<std::string>(section, "content", place),
                                          json_field<int64_t>(section, "start", place),
                                          json_field<int64_t>(section, "stop", place));
  throw DataError(source, "decoder '" + type + "' is not supported");
}

}  // namespace parapet::text
