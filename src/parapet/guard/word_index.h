// Entries of word lists, found in the views of a text, with the rules of where a word begins and
// ends in scripts with and without spaces.
#pragma once
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "parapet/guard/phrase_index.h"
#include "parapet/guard/text_views.h"

namespace parapet::guard {

struct TextHit;

class WordIndex {
 public:
  struct Entry {
    int32_t list = 0, entry = 0;
    bool inside_words = false;
    bool fold_accents = false;
    bool plain_only = false;
    std::u32string letters = {};
    std::vector<uint16_t> runs = {};  // of equal letters, for stretched words
  };
  // An entry with a hyphen is looked for with a blank and, where its parts are long enough to be
  // no word by chance, without either; a phrase with an apostrophe also without it.
  void add(const Folded& phrase, Entry entry);
  void build();
  // Whether some entry has several words, so that views for phrases are worth making.
  bool has_phrases() const { return phrases_; }
  // Appends hits of a view; in the plain view also stretched ("baaad") and masked ("b*d") words.
  void find(const TextView& view, std::vector<TextHit>& hits) const;

 private:
  void find_stretched(const TextView& view, std::vector<TextHit>& hits) const;
  void find_masked(const Folded& chars, std::vector<TextHit>& hits) const;
  void find_masked_phrases(const Folded& chars, std::vector<TextHit>& hits) const;
  void find_phrases(const TextView& view, std::vector<TextHit>& hits) const;
  void find_parted(const TextView& view, std::vector<TextHit>& hits) const;
  void add_letters(Entry entry);
  void index_words(const Entry& entry, int32_t id);

  using Shape = std::pair<size_t, char32_t>;  // of a word of letters: length and first letter
  std::vector<Entry> entries_;
  PhraseIndex exact_, stretched_;
  PhraseIndex joined_;                                      // phrases without their blanks
  std::map<Shape, std::vector<int32_t>> words_;             // entries of one word
  std::map<Shape, std::set<std::u32string>> phrase_words_;  // distinct words of phrases
  bool phrases_ = false;
};

}  // namespace parapet::guard
