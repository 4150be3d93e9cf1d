#include "parapet/text/normalizer.h"

#include <nlohmann/json.hpp>
#include <vector>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/utf8.h"
#include "parapet/text/finder.h"
#include "parapet/text/unicode.h"

namespace parapet::text {
namespace {

class FormNormalizer : public Normalizer {
 public:
  explicit FormNormalizer(NormalForm form) : form_(form) {}
  void apply(std::string& s, std::string& scratch) const override {
    if (normalize(s, form_, scratch)) s.swap(scratch);
  }

 private:
  NormalForm form_;
};

class LowercaseNormalizer : public Normalizer {
 public:
  void apply(std::string& s, std::string& scratch) const override {
    lowercase(s, scratch);
    s.swap(scratch);
  }
};

class ReplaceNormalizer : public Normalizer {
 public:
  ReplaceNormalizer(std::unique_ptr<Finder> finder, std::string content)
      : finder_(std::move(finder)), content_(std::move(content)) {}
  void apply(std::string& s, std::string& scratch) const override {
    thread_local std::vector<Span> spans;
    find_spans(*finder_, s, spans);
    if (spans.size() == 1 && !spans[0].match) return;
    scratch.clear();
    for (const Span& span : spans)
      scratch += span.match ? std::string_view(content_)
                            : std::string_view(s).substr(span.start, span.end - span.start);
    s.swap(scratch);
  }

 private:
  std::unique_ptr<Finder> finder_;
  std::string content_;
};

class PrependNormalizer : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(std::string& s, std::string& /*scratch*/) const override {
    if (!s.empty()) s.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class StripNormalizer : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  void apply(std::string& s, std::string& /*scratch*/) const override {
    size_t end = s.size();
    for (size_t i = end; right_ && i > 0;) {
      if (!is_white_space(previous_code_point(s, i))) break;
      end = i;
    }
    s.resize(end);
    size_t start = 0;
    for (size_t i = 0; left_ && i < s.size();) {
      if (!is_white_space(next_code_point(s, i))) break;
      start = i;
    }
    s.erase(0, start);
  }

 private:
  bool left_;
  bool right_;
};

class StripAccentsNormalizer : public Normalizer {
 public:
  void apply(std::string& s, std::string& scratch) const override {
    if (is_ascii(s)) return;
    scratch.clear();
    for (size_t i = 0; i < s.size();) {
      const size_t at = i;
      if (!is_combining_mark(next_code_point(s, i))) scratch.append(s, at, i - at);
    }
    s.swap(scratch);
  }
};

class SequenceNormalizer : public Normalizer {
 public:
  explicit SequenceNormalizer(std::vector<std::unique_ptr<Normalizer>> parts)
      : parts_(std::move(parts)) {}
  void apply(std::string& s, std::string& scratch) const override {
    for (const auto& part : parts_) part->apply(s, scratch);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

std::unique_ptr<Normalizer> load_sequence(const nlohmann::json& section, std::string_view source) {
  const auto items = section.find("normalizers");
  if (items == section.end() || !items->is_array())
    throw DataError(source, "a Sequence normalizer needs the list 'normalizers'");
  std::vector<std::unique_ptr<Normalizer>> parts;
  for (const auto& item : *items)
    if (auto part = load_normalizer(item, source)) parts.push_back(std::move(part));
  return std::make_unique<SequenceNormalizer>(std::move(parts));
}

}  // namespace

std::unique_ptr<Normalizer> load_normalizer(const nlohmann::json& section,
                                            std::string_view source) {
  if (section.is_null()) return nullptr;
  const auto type = json_field<std::string>(section, "type", source);
  const std::string place = std::string(source) + ": normalizer " + type;
  const auto form = [](NormalForm f) { return std::make_unique<FormNormalizer>(f); };
  if (type == "NFC") return form(NormalForm::kNfc);
  if (type == "NFD") return form(NormalForm::kNfd);
  if (type == "NFKC") return form(NormalForm::kNfkc);
  if (type == "NFKD") return form(NormalForm::kNfkd);
  if (type == "Lowercase") return std::make_unique<LowercaseNormalizer>();
  if (type == "StripAccents") return std::make_unique<StripAccentsNormalizer>();
  if (type == "Sequence") return load_sequence(section, source);
  if (type == "Prepend")
    return std::make_unique<PrependNormalizer>(json_field<std::string>(section, "prepend", place));
  if (type == "Strip")
    return std::make_unique<StripNormalizer>(json_field<bool>(section, "strip_left", place),
                                             json_field<bool>(section, "strip_right", place));
  if (type == "Replace")
    return std::make_unique<ReplaceNormalizer>(
        finder_from_json(section.value("pattern", nlohmann::json()), place),
        json_field<std::string>(section, "content", place));
  throw DataError(source, "normalizer '" + type + "' is not supported");
}

}  // namespace parapet::text
