#include "parapet/guard/hash_lists.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <unordered_map>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/core/text_encoding.h"
#include "parapet/data/csv.h"
#include "parapet/guard/hash_index.h"

namespace parapet::guard {
namespace {

constexpr int64_t kListCap = int64_t{4} << 30;

bool is_hash(std::string_view text) {
  return text.size() == 64 &&
         text.find_first_not_of("0123456789abcdefABCDEF") == std::string_view::npos;
}

struct Columns {
  int hash = 0, id = 1, quality = -1, type = -1;
};

std::optional<Columns> header_columns(const std::vector<std::string>& fields,
                                      std::string_view kind) {
  Columns columns{-1, -1, -1, -1};
  for (int i = 0; i < static_cast<int>(fields.size()); ++i) {
    const std::string name = to_lower_ascii(fields[static_cast<size_t>(i)]);
    const bool hash = name == kind || name == "hash" || name == "indicator" || name == "value";
    if (hash && columns.hash < 0) columns.hash = i;
    if (name == "id" || name == "indicator_id") columns.id = i;
    if (name == "quality" || name == "pdq_quality") columns.quality = i;
    if (name == "type" || name == "signal_type" || name == "indicator_type") columns.type = i;
  }
  if (columns.hash < 0) return std::nullopt;
  return columns;
}

std::string field_at(const std::vector<std::string>& fields, int column) {
  return column >= 0 && column < static_cast<int>(fields.size())
             ? fields[static_cast<size_t>(column)]
             : "";
}

// "HASH_PDQ", "pdq", "HASH_SHA256", "sha-256": does it name this kind?
bool names_kind(std::string_view type, std::string_view kind) {
  std::string letters;
  for (const char c : to_lower_ascii(type))
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) letters += c;
  return letters.ends_with(kind);
}

class ListReader {
 public:
  ListReader(const std::filesystem::path& file, std::string_view kind, int64_t min_quality)
      : file_(file), kind_(kind), min_quality_(min_quality) {}

  HashListFile read() {
    const std::string text = read_text_file(file_, kListCap);
    CsvReader reader(text, file_.string());
    std::vector<std::string> fields;
    for (bool first = true; reader.next(fields); first = false) {
      for (std::string& field : fields) field = std::string(trim(field));
      if (fields[0].starts_with('#')) continue;
      const auto columns =
          first && !is_hash(fields[0]) ? header_columns(fields, kind_) : std::nullopt;
      if (columns)
        columns_ = *columns;
      else
        add(fields, reader);
    }
    return std::move(out_);
  }

 private:
  void add(const std::vector<std::string>& fields, const CsvReader& reader) {
    const std::string type = field_at(fields, columns_.type);
    if (!type.empty() && !names_kind(type, kind_)) {
      ++out_.other_types;
      return;
    }
    const std::string hash = field_at(fields, columns_.hash);
    if (!is_hash(hash))
      throw DataError(reader.place(),
                      "'" + hash.substr(0, 80) + "' is not a " + std::string(kind_) + " hash",
                      "Expected 64 hexadecimal digits, or CSV whose header names a column 'hash'.");
    if (columns_.quality >= 0) {
      const std::string text = field_at(fields, columns_.quality);
      int64_t quality = 100;
      const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), quality);
      if (!text.empty() && (error != std::errc() || stop != text.data() + text.size()))
        throw DataError(reader.place(),
                        "quality '" + text.substr(0, 40) + "' is not a whole number");
      if (quality < min_quality_) {
        ++out_.low_quality;
        return;
      }
    }
    const std::string id = field_at(fields, columns_.id);
    out_.hashes.push_back(to_lower_ascii(hash));
    out_.ids.push_back(id.empty() ? "line " + std::to_string(reader.line()) : id);
  }

  std::filesystem::path file_;
  std::string_view kind_;
  int64_t min_quality_;
  Columns columns_;
  HashListFile out_;
};

}  // namespace

HashListFile read_hash_list(const std::filesystem::path& file, std::string_view kind,
                            int64_t min_quality) {
  return ListReader(file, kind, min_quality).read();
}

struct HashLists::Impl {
  struct PdqList {
    int32_t list;
    HashIndex index;
    std::vector<std::string> ids;
    int max_distance;
    int min_quality;
    bool all_rotations;
  };
  std::vector<PdqList> pdq;
  std::unordered_map<std::string, std::vector<HashHit>> exact;
  bool any_exact = false, any_texts = false;
  size_t size = 0;
};

HashLists::HashLists(const std::vector<HashListOptions>& lists) : impl_(std::make_unique<Impl>()) {
  for (size_t i = 0; i < lists.size(); ++i) {
    const HashListOptions& options = lists[i];
    HashListFile file =
        read_hash_list(options.file, options.kind, options.kind == "pdq" ? options.min_quality : 0);
    if (file.hashes.empty())
      throw DataError(options.file.string(),
                      "holds no " + options.kind + " hash that the list would compare (" +
                          std::to_string(file.other_types) + " rows are of other types, " +
                          std::to_string(file.low_quality) + " below min_quality)",
                      "The list '" + options.name +
                          "' would look for nothing: correct its kind or file, or remove it.");
    impl_->size += file.hashes.size();
    const auto list = static_cast<int32_t>(i);
    if (options.kind == "sha256") {
      impl_->any_exact = true;
      impl_->any_texts = impl_->any_texts || options.texts;
      for (size_t k = 0; k < file.hashes.size(); ++k)
        impl_->exact[file.hashes[k]].push_back({list, file.ids[k], -1});
      continue;
    }
    std::vector<PdqHash> hashes;
    hashes.reserve(file.hashes.size());
    for (const std::string& hash : file.hashes) hashes.push_back(*PdqHash::from_hex(hash));
    impl_->pdq.push_back({list, HashIndex(std::move(hashes)), std::move(file.ids),
                          static_cast<int>(options.max_distance),
                          static_cast<int>(options.min_quality), options.all_rotations});
  }
}

HashLists::~HashLists() = default;
bool HashLists::has_pdq() const { return !impl_->pdq.empty(); }
bool HashLists::has_exact(Modality modality) const {
  return modality == Modality::kImage ? impl_->any_exact : impl_->any_texts;
}
int HashLists::min_quality() const {
  int lowest = 101;
  for (const Impl::PdqList& list : impl_->pdq) lowest = std::min(lowest, list.min_quality);
  return lowest;
}
size_t HashLists::size() const { return impl_->size; }

std::vector<HashHit> HashLists::find_exact(std::string_view sha256) const {
  const auto it = impl_->exact.find(std::string(sha256));
  return it == impl_->exact.end() ? std::vector<HashHit>{} : it->second;
}

std::vector<HashHit> HashLists::find_near(const PdqVariants& variants) const {
  std::vector<HashHit> hits;
  for (const Impl::PdqList& list : impl_->pdq) {
    if (variants.quality < list.min_quality) continue;
    HashIndex::Match best{-1, list.max_distance + 1};
    for (size_t i = 0; i < (list.all_rotations ? variants.hashes.size() : 1); ++i) {
      const auto match = list.index.nearest(variants.hashes[i], list.max_distance);
      if (match.index >= 0 && match.distance < best.distance) best = match;
    }
    if (best.index >= 0)
      hits.push_back({list.list, list.ids[static_cast<size_t>(best.index)], best.distance});
  }
  return hits;
}

}  // namespace parapet::guard
