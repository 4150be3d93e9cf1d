// Any bytes as JSON Lines, fields read as the data sets' readers do: a DataError or values.
#include <nlohmann/json.hpp>

#include "fuzz_file.h"
#include "parapet/core/error.h"
#include "parapet/core/json.h"
#include "parapet/formats/jsonl.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const parapet::fuzz::FuzzFile file("quadruplets.jsonl");
  try {
    parapet::read_jsonl(file.write(data, size),
                        [](const nlohmann::json& line, const std::string& place) {
                          parapet::json_field<std::string>(line, "id", place);
                          parapet::json_field_or<int64_t>(line, "n", 0, place);
                          parapet::json_field_or<std::vector<std::string>>(line, "tags", {}, place);
                        });
  } catch (const parapet::DataError&) {
  }
  return 0;
}
