// JSON Lines with errors that name the file and line.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

namespace parapet {

// Calls `fn(object, "file:line")` for every non-blank line. A bad line throws DataError naming file
// and line; `fn` should pass that place to json_field.
void read_jsonl(const std::filesystem::path& file,
                const std::function<void(const nlohmann::json&, const std::string& place)>& fn);

// Appends lines and flushes each, for metrics that must survive a kill.
class JsonlAppender {
 public:
  // `keep_lines` >= 0 first cuts the file to that many lines (resume).
  explicit JsonlAppender(const std::filesystem::path& file, int64_t keep_lines = -1);
  void append(const nlohmann::json& value);

 private:
  std::ofstream out_;
  std::string path_;
};

}  // namespace parapet
