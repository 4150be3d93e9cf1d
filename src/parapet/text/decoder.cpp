#include "parapet/text/decoder.h"

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
};

// A token with a character outside the alphabet stands for its own bytes.
class ByteLevelDecoder : public Decoder {
 public:
  void apply(Tokens& tokens) const override {
    std::string bytes, mapped, storage;
    for (const std::string& token : tokens) {
      mapped.clear();
      bool inside = true;
      for (size_t i = 0; inside && i < token.size();) {
        const int byte = byte_of(next_code_point(token, i));
        inside = byte >= 0;
        mapped.push_back(static_cast<char>(byte));
      }
      bytes += inside ? mapped : token;
    }
    tokens.assign(1, std::string(repair_utf8(bytes, storage)));
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
    for (size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = replace_all(tokens[i], replacement_, i == 0 && prepended_ ? "" : " ");
  }

 private:
  std::string replacement_;
  bool prepended_;
};

// Runs of <0xAB> tokens become text; every byte of a run that is not UTF-8 becomes U+FFFD.
class ByteFallbackDecoder : public Decoder {
 public:
  void apply(Tokens& tokens) const override {
    Tokens out;
    std::string run;
    const auto flush = [&] {
      if (run.empty()) return;
      if (is_valid_utf8(run))
        out.push_back(run);
      else
        out.insert(out.end(), run.size(), "\uFFFD");
      run.clear();
    };
    for (std::string& token : tokens) {
      const int byte = byte_value(token);
      if (byte >= 0) {
        run.push_back(static_cast<char>(byte));
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
  }

 private:
  static int byte_value(const std::string& token) {
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
};

class ReplaceDecoder : public Decoder {
 public:
  ReplaceDecoder(std::unique_ptr<Finder> finder, std::string content)
      : finder_(std::move(finder)), content_(std::move(content)) {}
  void apply(Tokens& tokens) const override {
    std::vector<Span> spans;
    for (std::string& token : tokens) {
      find_spans(*finder_, token, spans);
      std::string out;
      for (const Span& span : spans)
        out += span.match ? content_ : token.substr(span.start, span.end - span.start);
      token = std::move(out);
    }
  }

 private:
  std::unique_ptr<Finder> finder_;
  std::string content_;
};

// Removes up to `start` copies of a character in front of each token and `stop` behind it.
class StripDecoder : public Decoder {
 public:
  StripDecoder(std::string content, int64_t start, int64_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void apply(Tokens& tokens) const override {
    for (std::string& token : tokens) {
      std::string_view s = token;
      for (int64_t i = 0; i < start_ && s.starts_with(content_); ++i)
        s.remove_prefix(content_.size());
      for (int64_t i = 0; i < stop_ && s.ends_with(content_); ++i) s.remove_suffix(content_.size());
      token = std::string(s);
    }
  }

 private:
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
