// Lists of known content: exact (SHA-256 of the bytes) and perceptual (PDQ).
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "parapet/formats/image_hash.h"
#include "parapet/guard/policy.h"

namespace parapet::guard {

// One list file. Either a hash per line, optionally followed by ",<id>" ('#' begins a comment), or
// CSV with a header line, as exchanges of such lists export it: the hash in a column named hash,
// pdq, sha256, indicator or value; optional columns id, quality, and type (or signal_type,
// indicator_type): rows of another type belong to other lists.
struct HashListFile {
  std::vector<std::string> hashes;  // lower-case hexadecimal, 64 digits
  std::vector<std::string> ids;     // line number where the file gives none
  int64_t other_types = 0;          // rows left out
  int64_t low_quality = 0;          // PDQ rows below the quality floor, left out
};
// `kind` pdq or sha256. DataError with file and line.
HashListFile read_hash_list(const std::filesystem::path& file, std::string_view kind,
                            int64_t min_quality = 0);

struct HashHit {
  int32_t list = 0;   // index into the lists given
  std::string id;     // of the entry
  int distance = -1;  // pdq
};

class HashLists {
 public:
  explicit HashLists(const std::vector<HashListOptions>& lists);
  ~HashLists();
  HashLists(const HashLists&) = delete;
  HashLists& operator=(const HashLists&) = delete;

  // SHA-256 lists; of any content.
  std::vector<HashHit> find_exact(std::string_view sha256) const;
  // PDQ lists; a picture below a list's quality floor matches nothing there.
  std::vector<HashHit> find_near(const PdqVariants& variants) const;
  bool has_pdq() const;
  // Whether a SHA-256 list says something about such content. A text that is on no list of known
  // pictures has not been looked at.
  bool has_exact(Modality modality) const;
  int min_quality() const;  // lowest floor of the PDQ lists
  size_t size() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace parapet::guard
