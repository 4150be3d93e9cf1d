// Word and regex lists over text in any language, matched through the usual disguises. Which list
// fired and where; what that means is the policy's.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/guard/policy.h"
#include "parapet/guard/text_hit.h"

namespace parapet::guard {

class RuleSet {
 public:
  // Reads the files. DataError names a file that is neither lines nor a JSON array of strings.
  explicit RuleSet(const std::vector<WordListOptions>& lists);
  ~RuleSet();
  RuleSet(const RuleSet&) = delete;
  RuleSet& operator=(const RuleSet&) = delete;

  // Hits in text order. `text` is valid UTF-8; `side` leaves out lists for the other. Of a list at
  // most 1000: the last then reaches to the end of those past it.
  // Lists whose regex ran into its limits, and those that see through disguises where escapes lie
  // in each other too deep, are in `failed` (the text is not scanned by them in full).
  std::vector<TextHit> scan(std::string_view text, Side side, std::vector<int32_t>& failed) const;
  // Whether a list asks for texts of this side. Allow lists ask for nothing.
  bool looks_at(Side side) const;
  size_t entries() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Entries of a list file: a JSON array of strings, or one per line ('#' begins a comment).
struct WordFile {
  std::vector<std::string> entries;
  std::vector<int64_t> numbers;  // of each: its line, or its element in the array, from 1
  bool json = false;
  // "file:12", or "file: element 12".
  std::string place(const std::filesystem::path& file, size_t entry) const;
};
WordFile read_word_file(const std::filesystem::path& file);

}  // namespace parapet::guard
