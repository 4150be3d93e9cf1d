#include "parapet/formats/jsonl.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/core/strings.h"
#include "parapet/core/text_encoding.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

// Where the file should end: after `keep_lines` lines, or after its last complete line.
uintmax_t kept_size(const fs::path& file, int64_t keep_lines) {
  const auto map = MappedFile::open(file);
  const std::string_view text(reinterpret_cast<const char*>(map->bytes().data()),
                              map->bytes().size());
  if (keep_lines < 0) {
    const size_t last = text.rfind('\n');
    return last == std::string_view::npos ? 0 : last + 1;
  }
  size_t at = 0;
  for (int64_t line = 0; line < keep_lines; ++line) {
    const size_t end = text.find('\n', at);
    if (end == std::string_view::npos) break;
    at = end + 1;
  }
  return at;
}

}  // namespace

void read_jsonl(const fs::path& file,
                const std::function<void(const nlohmann::json&, const std::string& place)>& fn) {
  const auto map = MappedFile::open(file);
  std::string storage;
  std::string_view text =
      marked_text({reinterpret_cast<const char*>(map->bytes().data()), map->bytes().size()},
                  file.string(), storage);
  const std::string prefix = file.string() + ":";
  for (int64_t line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view row = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (row.empty()) continue;
    const std::string place = prefix + std::to_string(line);
    fn(parse_json(row, place), place);
  }
}

JsonlAppender::JsonlAppender(const fs::path& file, int64_t keep_lines) : path_(file.string()) {
  // A kill may have left half a line; appending to it would spoil the next one too.
  std::error_code error;
  if (fs::exists(file, error)) {
    fs::resize_file(file, kept_size(file, keep_lines), error);
    if (error) throw DataError(path_, "cannot be cut for resuming: " + error.message());
  }
  out_.open(file, std::ios::app | std::ios::binary);
  if (!out_) throw DataError(path_, "cannot be opened for writing", "Check the folder.");
}

void JsonlAppender::append(const nlohmann::json& value) {
  out_ << value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n'
       << std::flush;
  if (!out_) throw DataError(path_, "write failed", "Free some disk space.");
}

}  // namespace parapet
