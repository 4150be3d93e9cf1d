// CSV as in RFC 4180: quoted fields may hold commas, quotes (doubled) and line ends.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace parapet {

class CsvReader {
 public:
  // `text` must outlive the reader; `source` names it in errors. A byte order mark is skipped.
  CsvReader(std::string_view text, std::string source);
  // False at the end; blank lines are skipped. DataError names file and line: a quote that is not
  // closed, text after a closing quote.
  bool next(std::vector<std::string>& fields);
  // Line at which the last row began, from 1.
  int64_t line() const { return row_line_; }
  std::string place() const { return source_ + ":" + std::to_string(row_line_); }

 private:
  std::string quoted();
  std::string_view text_;
  std::string source_;
  size_t at_ = 0;
  int64_t line_ = 1;
  int64_t row_line_ = 1;
};

}  // namespace parapet
