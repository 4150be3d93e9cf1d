#include "parapet/data/csv.h"

#include "parapet/core/error.h"

namespace parapet {

CsvReader::CsvReader(std::string_view text, std::string source)
    : text_(text), source_(std::move(source)) {
  if (text_.starts_with("\xef\xbb\xbf")) text_.remove_prefix(3);
}

// The field after its opening quote, up to the separator or line end that follows the closing one.
std::string CsvReader::quoted() {
  std::string field;
  while (true) {
    if (at_ >= text_.size())
      throw DataError(place(), "a quoted field is not closed before the end of the file");
    const char c = text_[at_++];
    if (c == '\n') ++line_;
    if (c != '"') {
      field += c;
    } else if (at_ < text_.size() && text_[at_] == '"') {
      field += '"';
      ++at_;
    } else {
      break;
    }
  }
  if (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\n' && text_[at_] != '\r')
    throw DataError(place(), "text follows a closing quote",
                    "Double the quotes inside a quoted field.");
  return field;
}

bool CsvReader::next(std::vector<std::string>& fields) {
  while (at_ < text_.size() && (text_[at_] == '\n' || text_[at_] == '\r'))
    if (text_[at_++] == '\n') ++line_;
  if (at_ >= text_.size()) return false;
  row_line_ = line_;
  fields.clear();
  while (true) {
    if (at_ < text_.size() && text_[at_] == '"') {
      ++at_;
      fields.push_back(quoted());
    } else {
      const size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
      fields.emplace_back(text_.substr(at_, end - at_));
      at_ = end;
    }
    if (at_ >= text_.size() || text_[at_] != ',') return true;
    ++at_;
  }
}

}  // namespace parapet
