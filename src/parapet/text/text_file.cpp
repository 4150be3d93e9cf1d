#include "parapet/text/text_file.h"

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "parapet/core/text_encoding.h"

namespace parapet {
namespace {

std::string json_text(std::string_view line, const std::string& place) {
  const nlohmann::json value = parse_json(line, place);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object()) return json_field<std::string>(value, "text", place);
  throw DataError(place, "must be a JSON string or an object with the field 'text'");
}

}  // namespace

void read_texts(const std::filesystem::path& file, size_t block,
                const std::function<void(const std::vector<std::string>&)>& fn) {
  const auto mapped = MappedFile::open(file);
  const auto bytes = mapped->bytes();
  std::string storage;
  std::string_view rest = utf8_text({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                                    file.string(), storage);
  const bool is_jsonl = file.extension() == ".jsonl";
  std::vector<std::string> texts;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const size_t newline = rest.find('\n');
    std::string_view line = rest.substr(0, newline);
    rest.remove_prefix(newline == std::string_view::npos ? rest.size() : newline + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (is_jsonl && line.find_first_not_of(" \t") == std::string_view::npos) continue;
    texts.push_back(is_jsonl ? json_text(line, file.string() + ":" + std::to_string(number))
                             : std::string(line));
    if (texts.size() < block) continue;
    fn(texts);
    texts.clear();
  }
  if (!texts.empty()) fn(texts);
}

std::vector<std::string> read_texts(const std::filesystem::path& file) {
  std::vector<std::string> all;
  read_texts(file, SIZE_MAX, [&](const std::vector<std::string>& texts) { all = texts; });
  return all;
}

}  // namespace parapet
