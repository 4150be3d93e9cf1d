#include "parapet/text/pre_tokenizer.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/core/utf8.h"
#include "parapet/text/byte_alphabet.h"
#include "parapet/text/unicode.h"

namespace parapet::text {
namespace {

using nlohmann::json;
using Stages = std::vector<std::unique_ptr<PreTokenizer>>;

// The pattern of GPT-2, applied by ByteLevel with use_regex.
constexpr const char* kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

class SplitStage : public PreTokenizer {
 public:
  SplitStage(std::unique_ptr<Finder> finder, SplitBehavior behavior, bool invert)
      : finder_(std::move(finder)), behavior_(behavior), invert_(invert) {}

  void apply(PieceList& pieces) const override {
    pieces.next.clear();
    for (const Piece& piece : pieces.items) {
      find_spans(*finder_, piece.text, pieces.spans);
      if (invert_)
        for (Span& span : pieces.spans) span.match = !span.match;
      apply_behavior(behavior_, pieces.spans);
      for (const Span& span : pieces.spans)
        if (span.end > span.start)
          pieces.next.push_back({piece.text.substr(span.start, span.end - span.start),
                                 piece.at_start && span.start == 0});
    }
    pieces.items.swap(pieces.next);
  }

 private:
  std::unique_ptr<Finder> finder_;
  SplitBehavior behavior_;
  bool invert_;
};

// ByteLevel's add_prefix_space: a space before every piece that has none.
class PrefixSpaceStage : public PreTokenizer {
 public:
  void apply(PieceList& pieces) const override {
    for (Piece& piece : pieces.items)
      if (!piece.text.starts_with(' ')) piece.text = pieces.keep(" " + std::string(piece.text));
  }
};

class ByteMapStage : public PreTokenizer {
 public:
  void apply(PieceList& pieces) const override {
    for (Piece& piece : pieces.items) {
      std::string mapped;
      append_byte_level(mapped, piece.text);
      piece.text = pieces.keep(std::move(mapped));
    }
  }
};

enum class Prepend { kAlways, kFirst, kNever };

// Spaces become the replacement character, which may also be put in front.
class MetaspaceStage : public PreTokenizer {
 public:
  MetaspaceStage(std::string replacement, Prepend prepend)
      : replacement_(std::move(replacement)), prepend_(prepend) {}

  void apply(PieceList& pieces) const override {
    for (Piece& piece : pieces.items) {
      std::string out;
      const bool marked = piece.text.starts_with(' ') || piece.text.starts_with(replacement_);
      if (!marked &&
          (prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && piece.at_start)))
        out = replacement_;
      for (const char c : piece.text) {
        if (c == ' ')
          out += replacement_;
        else
          out += c;
      }
      piece.text = pieces.keep(std::move(out));
    }
  }

 private:
  std::string replacement_;
  Prepend prepend_;
};

std::unique_ptr<PreTokenizer> split(std::unique_ptr<Finder> finder, SplitBehavior behavior,
                                    bool invert = false) {
  return std::make_unique<SplitStage>(std::move(finder), behavior, invert);
}

void add_metaspace(const json& section, const std::string& place, Stages& stages) {
  const auto replacement = json_field_or<std::string>(section, "replacement", "\u2581", place);
  // Older files have only add_prefix_space.
  const bool prefix = json_field_or<bool>(section, "add_prefix_space", true, place);
  const auto scheme =
      json_field_or<std::string>(section, "prepend_scheme", prefix ? "always" : "never", place);
  if (scheme != "always" && scheme != "first" && scheme != "never")
    throw DataError(place, "prepend_scheme '" + scheme + "' is not supported");
  stages.push_back(
      std::make_unique<MetaspaceStage>(replacement, scheme == "always"  ? Prepend::kAlways
                                                    : scheme == "first" ? Prepend::kFirst
                                                                        : Prepend::kNever));
  if (json_field_or<bool>(section, "split", true, place))
    stages.push_back(split(literal_finder(replacement), SplitBehavior::kMergedWithNext));
}

void add_stages(const json& section, std::string_view source, Stages& stages);

void add_sequence(const json& section, std::string_view source, Stages& stages) {
  const auto items = section.find("pretokenizers");
  if (items == section.end() || !items->is_array())
    throw DataError(source, "a Sequence pre_tokenizer needs the list 'pretokenizers'");
  for (const auto& item : *items) add_stages(item, source, stages);
}

void add_stages(const json& section, std::string_view source, Stages& stages) {
  if (section.is_null()) return;
  const auto type = json_field<std::string>(section, "type", source);
  const std::string place = std::string(source) + ": pre_tokenizer " + type;
  if (type == "Sequence") return add_sequence(section, source, stages);
  if (type == "Metaspace") return add_metaspace(section, place, stages);
  if (type == "Split") {
    stages.push_back(
        split(finder_from_json(section.value("pattern", json()), place),
              split_behavior(json_field<std::string>(section, "behavior", place), place),
              json_field_or<bool>(section, "invert", false, place)));
  } else if (type == "ByteLevel") {
    if (json_field_or<bool>(section, "add_prefix_space", true, place))
      stages.push_back(std::make_unique<PrefixSpaceStage>());
    if (json_field_or<bool>(section, "use_regex", true, place))
      stages.push_back(split(regex_finder(kGpt2Pattern, place), SplitBehavior::kIsolated));
    stages.push_back(std::make_unique<ByteMapStage>());
  } else if (type == "Whitespace") {
    stages.push_back(split(word_finder(), SplitBehavior::kRemoved, true));
  } else if (type == "WhitespaceSplit") {
    stages.push_back(split(character_finder(is_white_space), SplitBehavior::kRemoved));
  } else if (type == "Digits") {
    const bool individual = json_field_or<bool>(section, "individual_digits", false, place);
    stages.push_back(split(character_finder(is_number),
                           individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous));
  } else if (type == "Punctuation") {
    const auto behavior = json_field_or<std::string>(section, "behavior", "Isolated", place);
    stages.push_back(split(character_finder(is_punctuation), split_behavior(behavior, place)));
  } else {
    throw DataError(source, "pre_tokenizer '" + type + "' is not supported");
  }
}

template <class T>
bool ends_in(const Stages& stages) {
  return !stages.empty() && dynamic_cast<const T*>(stages.back().get()) != nullptr;
}

}  // namespace

void PieceList::clear() {
  items.clear();
  arena.clear();
}

std::string_view PieceList::keep(std::string text) { return arena.emplace_back(std::move(text)); }

PreTokenizers load_pre_tokenizers(const json& section, std::string_view source) {
  PreTokenizers result;
  add_stages(section, source, result.stages);
  if (ends_in<ByteMapStage>(result.stages)) {
    result.byte_level = true;
    result.stages.pop_back();
  }
  if (result.stages.size() >= 2 && ends_in<SplitStage>(result.stages)) {
    result.last_split = std::move(result.stages.back());
    result.stages.pop_back();
    // Only behind a split are pieces short enough to cache whole.
    if (!ends_in<SplitStage>(result.stages)) {
      result.stages.push_back(std::move(result.last_split));
    }
  }
  return result;
}

}  // namespace parapet::text
