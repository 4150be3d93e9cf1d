#include "parapet/core/run_record.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/version.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

TEST(RunRecord, HoldsWhatANumberIsTracedBy) {
  const test::TempFolder folder;
  write_file_atomic(folder / "a.txt", "abc");
  RunInfo info;
  info.argv = {"parapet", "embed"};
  info.resolved_toml = "seed = 3\n";
  info.seed = 3;
  info.inputs["texts"] = folder / "a.txt";
  info.versions["torch"] = "2.13.0";
  info.started = std::chrono::system_clock::from_time_t(86400);
  const auto record = run_record(info);
  EXPECT_EQ(record["command"][1], "embed");
  EXPECT_EQ(record["config"], "seed = 3\n");
  EXPECT_EQ(record["seed"], 3);
  EXPECT_EQ(record["started"], "1970-01-02T00:00:00Z");
  EXPECT_EQ(record["versions"]["torch"], "2.13.0");
  EXPECT_EQ(record["versions"]["parapet"], version());
  EXPECT_EQ(record["inputs"]["texts"]["sha256"], sha256_hex("abc"));
  EXPECT_GE(record["hardware"]["cores"], 1);
  EXPECT_GT(record["hardware"]["memory_bytes"], 1 << 20);
}

TEST(RunRecord, DirectoryHashSeesConfigNamesAndSizes) {
  const test::TempFolder folder;
  const auto hash = [&] { return input_record(folder.path())["sha256"].get<std::string>(); };
  write_file_atomic(folder / "config.json", "{\"a\":1}");
  write_file_atomic(folder / "picture.png", "12345");
  fs::create_directory(folder / "sub");
  write_file_atomic(folder / "sub/x.bin", "x");
  const auto record = input_record(folder.path());
  EXPECT_EQ(record["kind"], "directory");
  EXPECT_EQ(record["files"], 3);
  EXPECT_EQ(record["bytes"], 7 + 5 + 1);
  const auto first = hash();
  EXPECT_EQ(hash(), first);
  write_file_atomic(folder / "config.json", "{\"a\":2}");
  const auto changed_config = hash();
  EXPECT_NE(changed_config, first);
  fs::rename(folder / "sub/x.bin", folder / "sub/y.bin");
  const auto renamed = hash();
  EXPECT_NE(renamed, changed_config);
  write_file_atomic(folder / "picture.png", "123456");
  EXPECT_NE(hash(), renamed);
}

TEST(RunRecord, MissingInputIsADataError) {
  EXPECT_THROW(input_record("/nonexistent/model"), DataError);
}

}  // namespace
}  // namespace parapet
