// Entries of word lists, found in the views of a text, with the rules of where a word begins and
// ends in scripts with and without spaces.
#pragma once
#include <map>
#include <string>
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
  void add(const Folded& phrase, Entry entry);
  void build();
  // Appends hits of a view; in the plain view also stretched ("baaad") and masked ("b*d") words.
  void find(const TextView& view, std::vector<TextHit>& hits) const;

 private:
  void find_stretched(const Folded& chars, std::vector<TextHit>& hits) const;
  void find_masked(const Folded& chars, std::vector<TextHit>& hits) const;

  std::vector<Entry> entries_;
  PhraseIndex exact_, stretched_;
  std::map<size_t, std::vector<int32_t>> by_length_;  // single words of letters
};

}  // namespace parapet::guard
