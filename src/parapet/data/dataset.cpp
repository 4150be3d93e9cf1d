#include "parapet/data/dataset.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/core/text_encoding.h"
#include "parapet/data/records.h"
#include "parapet/formats/image.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kNamedAtMost = 5;  // missing images listed in an error

// Calls fn(row, place, line) for each non-blank line.
void for_each_line(const fs::path& file,
                   const std::function<void(std::string_view, const std::string&, int64_t)>& fn) {
  const auto map = MappedFile::open(file);
  std::string storage;
  std::string_view text =
      marked_text({reinterpret_cast<const char*>(map->bytes().data()), map->bytes().size()},
                  file.string(), storage);
  for (int64_t line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view row = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!row.empty()) fn(row, file.string() + ":" + std::to_string(line), line);
  }
}

// Bad samples of one file.
class Quarantine {
 public:
  Quarantine(const fs::path& folder, fs::path file, const LoadOptions& options)
      : options_(options),
        source_(std::move(file)),
        target_(options.quarantine.empty() ? folder / "quarantine.jsonl" : options.quarantine) {}

  void add(int64_t line, std::string_view id, const DataError& error) {
    if (options_.on_bad_sample == OnBadSample::kStop) throw error;
    ++count_;
    const json row = {
        {"file", source_.string()}, {"line", line}, {"id", id}, {"reason", error.problem()}};
    rows_ += row.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  }

  void finish() const {
    if (count_ == 0) return;
    write_file_atomic(target_, rows_);
    options_.context.warn(std::to_string(count_) + " bad samples of " + source_.string() +
                          " skipped; reasons in " + target_.string());
  }
  int64_t count() const { return count_; }

 private:
  const LoadOptions& options_;
  fs::path source_, target_;
  std::string rows_;
  int64_t count_ = 0;
};

template <class T>
struct Row {
  T sample;
  int64_t line;
};

std::vector<std::string> images_of(const Quadruplet& s) { return {s.safe_image, s.unsafe_image}; }
std::vector<std::string> images_of(const CaptionSample& s) { return {s.image}; }
std::vector<std::string> images_of(const LabelSample& s) { return {s.image}; }

template <class T>
void check_rows(std::vector<Row<T>>& rows, const fs::path& file, Quarantine& quarantine,
                OnBadSample mode) {
  std::vector<std::string> missing;
  int64_t bad_samples = 0;
  std::erase_if(rows, [&](const Row<T>& row) {
    std::vector<std::string> absent;
    for (const auto& image : images_of(row.sample))
      if (!image.empty() && !location_exists(image)) absent.push_back(image);
    if (absent.empty()) return false;
    ++bad_samples;
    missing.insert(missing.end(), absent.begin(), absent.end());
    if (mode == OnBadSample::kSkip)
      quarantine.add(row.line, row.sample.id,
                     DataError(file.string(), "missing image " + join(absent, ", ")));
    return true;
  });
  if (missing.empty() || mode == OnBadSample::kSkip) return;
  const size_t count = missing.size();
  if (count > kNamedAtMost) missing.resize(kNamedAtMost);
  throw DataError(file.string(),
                  std::to_string(count) + " images of " + std::to_string(bad_samples) +
                      " samples are missing: " + join(missing, ", ") +
                      (count > kNamedAtMost ? ", ..." : ""),
                  "Restore them, or leave these samples out with --on-bad-sample skip.");
}

template <class T>
std::vector<T> load_records(const fs::path& folder, std::string_view name, std::string_view split,
                            const LoadOptions& options, LoadReport* report) {
  const fs::path file = folder / name;
  if (!fs::exists(file))
    throw DataError(file.string(), "does not exist",
                    "Name a data set folder (`parapet world build` or `parapet data import` "
                    "makes one).");
  Quarantine quarantine(folder, file, options);
  std::vector<Row<T>> rows;
  std::set<std::string> ids;
  int64_t records = 0;
  for_each_line(file, [&](std::string_view text, const std::string& place, int64_t line) {
    ++records;
    std::string id;
    try {
      const json object = parse_json(text, place);
      T sample;
      read_record(object, place, folder, options.require_images, sample);
      id = sample.id;
      if (!ids.insert(sample.id).second)
        throw DataError(place, "the id '" + sample.id + "' was used before");
      if (split.empty() || sample.split == split) rows.push_back({std::move(sample), line});
    } catch (const DataError& error) {
      quarantine.add(line, id, error);
    }
  });
  if (records == 0) throw DataError(file.string(), "holds no records");
  if (options.check_images) check_rows(rows, file, quarantine, options.on_bad_sample);
  quarantine.finish();
  if (report != nullptr) *report = {static_cast<int64_t>(rows.size()), quarantine.count()};
  std::vector<T> out;
  out.reserve(rows.size());
  for (auto& row : rows) out.push_back(std::move(row.sample));
  return out;
}

}  // namespace

OnBadSample parse_on_bad_sample(std::string_view text) {
  if (text == "stop") return OnBadSample::kStop;
  if (text == "skip") return OnBadSample::kSkip;
  throw UsageError("--on-bad-sample must be stop or skip, not '" + std::string(text) + "'");
}

std::vector<Quadruplet> load_quadruplets(const fs::path& folder, std::string_view split,
                                         const LoadOptions& options, LoadReport* report) {
  auto samples = load_records<Quadruplet>(folder, kQuadrupletFile, split, options, report);
  std::map<std::string, int64_t> counts;
  for (const auto& sample : samples) ++counts[sample.category];
  for (const auto& [category, count] : counts)
    if (count == 1)
      options.context.warn("category '" + category + "' of " + folder.string() +
                           " has a single sample" + (split.empty() ? "" : " in split ") +
                           std::string(split) + "; its figures mean little");
  return samples;
}

std::vector<CaptionSample> load_captions(const fs::path& folder, std::string_view split,
                                         const LoadOptions& options, LoadReport* report) {
  return load_records<CaptionSample>(folder, kCaptionFile, split, options, report);
}

std::vector<LabelSample> load_labels(const fs::path& folder, std::string_view split,
                                     const LoadOptions& options, LoadReport* report) {
  return load_records<LabelSample>(folder, kLabelFile, split, options, report);
}

void require_samples(size_t count, const fs::path& folder, std::string_view file,
                     std::string_view split) {
  if (count > 0) return;
  throw DataError((folder / file).string(),
                  split.empty() ? "holds no usable samples"
                                : "holds no usable samples of split '" + std::string(split) + "'",
                  "Check the field 'split' of its records.");
}

}  // namespace parapet
