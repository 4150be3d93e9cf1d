// The `pre_tokenizer` section of tokenizer.json: cuts normalised text into words.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/text/finder.h"

namespace parapet::text {

struct Piece {
  std::string_view text;
  bool at_start;  // begins where the original text does
};

// Pieces between two stages. Rewritten pieces live in `arena` (stable addresses).
struct PieceList {
  std::vector<Piece> items;
  std::vector<Piece> next;
  std::vector<Span> spans;
  std::deque<std::string> arena;
  void clear();
  std::string_view keep(std::string text);
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(PieceList& pieces) const = 0;
};

// The stages in order, with the trailing byte-level map taken out: the model applies it to a whole
// word, behind its cache.
struct PreTokenizers {
  std::vector<std::unique_ptr<PreTokenizer>> stages;
  // Splits after another split: a function of the piece alone, so it too can hide behind the cache.
  std::unique_ptr<PreTokenizer> last_split;
  bool byte_level = false;
};

// Split, ByteLevel, Metaspace, Whitespace, WhitespaceSplit, Digits, Punctuation, Sequence; JSON
// null gives no stages. DataError names any other type.
PreTokenizers load_pre_tokenizers(const nlohmann::json& section, std::string_view source);

}  // namespace parapet::text
