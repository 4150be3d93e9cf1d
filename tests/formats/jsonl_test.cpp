#include "parapet/formats/jsonl.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

class JsonlTest : public ::testing::Test {
 protected:
  fs::path put(const std::string& text) {
    const fs::path file = folder_ / "x.jsonl";
    std::ofstream(file, std::ios::binary) << text;
    return file;
  }
  test::TempFolder folder_;
};

TEST_F(JsonlTest, ReadsLinesWithPlaces) {
  const auto file = put("\xef\xbb\xbf{\"a\":1}\r\n\n  {\"a\":2}");
  std::vector<std::pair<int, std::string>> seen;
  read_jsonl(file, [&](const nlohmann::json& value, const std::string& place) {
    seen.emplace_back(value["a"].get<int>(), place);
  });
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_EQ(seen[0], std::make_pair(1, file.string() + ":1"));
  EXPECT_EQ(seen[1], std::make_pair(2, file.string() + ":3"));
}

TEST_F(JsonlTest, BadLineNamesFileAndLine) {
  const auto file = put("{\"a\":1}\n{\"a\":\n");
  try {
    read_jsonl(file, [](const nlohmann::json&, const std::string&) {});
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find(file.string() + ":2"), std::string::npos)
        << error.what();
  }
  EXPECT_THROW(read_jsonl(folder_ / "none", [](const nlohmann::json&, const std::string&) {}),
               DataError);
}

TEST_F(JsonlTest, AppenderCutsHalfLinesAndResumes) {
  const auto file = put("{\"a\":1}\n{\"a\":2}\n{\"a\":");
  { JsonlAppender(file).append({{"a", 3}}); }
  EXPECT_EQ(read_file(file), "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
  { JsonlAppender(file, 1).append({{"a", 9}}); }
  EXPECT_EQ(read_file(file), "{\"a\":1}\n{\"a\":9}\n");
  { JsonlAppender(file, 0); }
  EXPECT_EQ(read_file(file), "");
}

}  // namespace
}  // namespace parapet
