// CSV with a header row: quadruplets when it names safe_text and unsafe_text, captions otherwise.
#include <map>

#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/core/text_encoding.h"
#include "parapet/data/csv.h"
#include "parapet/data/import_sink.h"

namespace parapet::importing {
namespace {

// Other names that a column may have; --columns wins.
const std::map<std::string, std::vector<std::string>>& aliases() {
  static const std::map<std::string, std::vector<std::string>> all = {
      {"text", {"caption", "title"}},
      {"image", {"filepath", "file", "path", "image_path", "filename"}}};
  return all;
}

// Which column holds which field.
class Header {
 public:
  Header(const std::vector<std::string>& names, const std::string& columns,
         const std::string& place)
      : names_(names), place_(place) {
    for (const auto& pair : split(columns, ',')) {
      if (pair.empty()) continue;
      const size_t at = pair.find('=');
      if (at == std::string::npos)
        throw UsageError("--columns: '" + pair + "' should read field=column");
      const std::string column(trim(pair.substr(at + 1)));
      if (index(column) < 0)
        throw DataError(place_, "has no column '" + column + "'",
                        "The columns are: " + join(names_, ", ") + ".");
      chosen_[std::string(trim(pair.substr(0, at)))] = index(column);
    }
  }

  // -1 when there is none.
  int64_t find(const std::string& field) const {
    if (const auto it = chosen_.find(field); it != chosen_.end()) return it->second;
    if (const int64_t at = index(field); at >= 0) return at;
    if (const auto it = aliases().find(field); it != aliases().end())
      for (const auto& other : it->second)
        if (const int64_t at = index(other); at >= 0) return at;
    return -1;
  }

  int64_t require(const std::string& field) const {
    const int64_t at = find(field);
    if (at < 0)
      throw DataError(place_, "has no column for '" + field + "'",
                      "Name it with --columns " + field +
                          "=COLUMN; the columns are: " + join(names_, ", ") + ".");
    return at;
  }
  const std::vector<std::string>& names() const { return names_; }

 private:
  int64_t index(const std::string& name) const {
    for (size_t i = 0; i < names_.size(); ++i)
      if (names_[i] == name) return static_cast<int64_t>(i);
    return -1;
  }
  std::vector<std::string> names_;
  std::string place_;
  std::map<std::string, int64_t> chosen_;
};

// One row, by field name.
class Row {
 public:
  Row(const Header& header, const std::vector<std::string>& values, std::string place)
      : header_(header), values_(values), place_(std::move(place)) {}

  std::string required(const std::string& field) {
    const auto text = value(header_.require(field));
    if (text.empty()) throw DataError(place_, "column for '" + field + "' is empty");
    return text;
  }
  std::string optional(const std::string& field, const std::string& fallback) {
    const int64_t at = header_.find(field);
    const std::string text = at < 0 ? "" : value(at);
    return text.empty() ? fallback : text;
  }
  // Columns that no field took.
  std::map<std::string, std::string> rest() const {
    std::map<std::string, std::string> out;
    for (size_t i = 0; i < values_.size(); ++i)
      if (used_.count(i) == 0 && !values_[i].empty()) out[header_.names()[i]] = values_[i];
    return out;
  }

 private:
  std::string value(int64_t at) {
    used_.insert(static_cast<size_t>(at));
    return std::string(trim(values_[static_cast<size_t>(at)]));
  }
  const Header& header_;
  const std::vector<std::string>& values_;
  std::string place_;
  std::set<size_t> used_;
};

void add_row(Row row, bool quadruplets, const std::string& id, const std::string& place,
             const std::filesystem::path& file, Sink& sink) {
  if (quadruplets) {
    Quadruplet sample;
    sample.id = row.optional("id", id);
    sample.safe_text = row.required("safe_text");
    sample.unsafe_text = row.required("unsafe_text");
    sample.safe_image = sink.image_path(file, row.optional("safe_image", ""));
    sample.unsafe_image = sink.image_path(file, row.optional("unsafe_image", ""));
    sample.category = row.required("category");
    sample.split = row.optional("split", sink.options().split);
    sample.attributes = row.rest();
    sink.add(std::move(sample), place);
    return;
  }
  CaptionSample sample;
  sample.id = row.optional("id", id);
  sample.text = row.required("text");
  sample.image = sink.image_path(file, row.required("image"));
  sample.split = row.optional("split", sink.options().split);
  sample.attributes = row.rest();
  sink.add(std::move(sample), place);
}

}  // namespace

void import_csv(const std::filesystem::path& file, Sink& sink) {
  const std::string text = read_text_file(file);
  CsvReader reader(text, file.string());
  std::vector<std::string> fields;
  if (!reader.next(fields)) throw DataError(file.string(), "is empty", "A header row is needed.");
  for (auto& name : fields) name = std::string(trim(name));
  const Header header(fields, sink.options().columns, reader.place());
  const bool quadruplets = header.find("safe_text") >= 0 && header.find("unsafe_text") >= 0;
  if (!quadruplets) {
    header.require("text");
    header.require("image");
  }
  const size_t width = fields.size();
  for (int64_t number = 0; reader.next(fields); ++number) {
    if (number % 1024 == 0) sink.check_cancelled();
    const std::string id = file.stem().string() + "-" + std::to_string(reader.line());
    try {
      if (fields.size() != width)
        throw DataError(reader.place(), "has " + std::to_string(fields.size()) +
                                            " fields, the header " + std::to_string(width));
      add_row(Row(header, fields, reader.place()), quadruplets, id, reader.place(), file, sink);
    } catch (const DataError& error) {
      sink.bad(id, error);
    }
  }
}

}  // namespace parapet::importing
