#include "parapet/training/run_directory.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/json.h"
#include "support/temp_folder.h"

namespace parapet::test {
namespace {

RunInfo info_with(const std::filesystem::path& input) {
  RunInfo info;
  info.argv = {"parapet", "train", "clip"};
  info.resolved_toml = "lr = 0.1\n";
  info.seed = 5;
  info.inputs = {{"data", input}};
  return info;
}

TEST(RunDirectory, WritesRecordAndConfig) {
  const TempFolder dir;
  write_file_atomic(dir / "data.jsonl", "{}\n");
  const auto run = RunDirectory::create(dir / "out/run", info_with(dir / "data.jsonl"), false);
  EXPECT_EQ(read_file(run.config()), "lr = 0.1\n");
  const auto record = load_json(run.run_json());
  EXPECT_EQ(record["seed"], 5);
  EXPECT_TRUE(record["inputs"].contains("data"));
  EXPECT_EQ(run.model(), dir / "out/run/model");
  EXPECT_EQ(run.adapter(), dir / "out/run/adapter");
  EXPECT_EQ(run.checkpoints(), dir / "out/run/checkpoints");
  EXPECT_EQ(run.metrics(), dir / "out/run/metrics.jsonl");
}

TEST(RunDirectory, RefusesAnotherRunUnlessResumed) {
  const TempFolder dir;
  write_file_atomic(dir / "data.jsonl", "{}\n");
  const auto info = info_with(dir / "data.jsonl");
  RunDirectory::create(dir / "run", info, false);
  try {
    RunDirectory::create(dir / "run", info, false);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("--resume"), std::string::npos) << error.what();
  }
  const auto first = load_json(dir / "run/run.json");
  RunDirectory::create(dir / "run", info, true);
  RunDirectory::create(dir / "run", info, true);
  const auto record = load_json(dir / "run/run.json");
  EXPECT_EQ(record["started"], first["started"]);
  EXPECT_EQ(record["resumed"].size(), 2u);
}

TEST(RunDirectory, RefusesForeignFilesAndChangedInputs) {
  const TempFolder dir;
  write_file_atomic(dir / "data.jsonl", "{}\n");
  const auto info = info_with(dir / "data.jsonl");
  std::filesystem::create_directories(dir / "home");
  write_file_atomic(dir / "home" / "thesis.txt", "precious");
  EXPECT_THROW(RunDirectory::create(dir / "home", info, false), UsageError);
  EXPECT_THROW(RunDirectory::create(dir / "home", info, true), UsageError);
  EXPECT_THROW(RunDirectory::create(dir / "data.jsonl", info, false), UsageError);
  RunDirectory::create(dir / "run", info, false);
  write_file_atomic(dir / "data.jsonl", "{\"other\": 1}\n");
  EXPECT_THROW(RunDirectory::create(dir / "run", info, true), UsageError);
  EXPECT_THROW(RunDirectory::create(dir / "new", info_with(dir / "missing"), false), DataError);
}

}  // namespace
}  // namespace parapet::test
