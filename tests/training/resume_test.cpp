// Real processes: kill -9 and a full disk.
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "parapet/core/json.h"
#include "support/temp_folder.h"
#include "toy_process.h"

namespace parapet::test {
namespace {

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

const Arguments kRun = {"max-steps=40",       "lr=0.02",         "warmup-steps=4",
                        "dropout=0.2",        "accumulate=2",    "validate-every=6",
                        "checkpoint-every=5", "weight-decay=0.1"};

Arguments with(Arguments arguments, const Arguments& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

int finish(const fs::path& run, const Arguments& arguments, const fs::path& log) {
  return ToyProcess(run, arguments, log).wait();
}

TEST(Resume, AfterKillInAStepIsBitIdentical) {
  const TempFolder dir;
  ASSERT_EQ(finish(dir / "whole", kRun, dir / "log"), 0) << read_file(dir / "log");
  ASSERT_EQ(finish(dir / "killed", with(kRun, {"kill-at=23"}), dir / "log"), -SIGKILL);
  EXPECT_EQ(load_json(dir / "killed" / "checkpoints/last/state.json")["step"], 20);
  ASSERT_EQ(finish(dir / "killed", with(kRun, {"resume=true"}), dir / "log"), 0)
      << read_file(dir / "log");
  EXPECT_EQ(final_bytes(dir / "whole"), final_bytes(dir / "killed"));
  EXPECT_EQ(read_file(dir / "whole" / "checkpoints/best/weights.safetensors"),
            read_file(dir / "killed" / "checkpoints/best/weights.safetensors"));
}

// With a checkpoint after every step most of the time is spent saving, so the kills land there.
TEST(Resume, AfterKillsAtAnyInstantIsBitIdentical) {
  const TempFolder dir;
  const auto often = with(kRun, {"checkpoint-every=1"});
  ASSERT_EQ(finish(dir / "whole", often, dir / "log"), 0) << read_file(dir / "log");
  int kills = 0;
  for (int round = 0; round < 5; ++round) {
    ToyProcess process(dir / "killed", with(often, {"resume=true"}), dir / "log");
    const fs::path last = dir / "killed" / "checkpoints/last";
    const auto before = fs::exists(last) ? fs::read_symlink(last) : fs::path();
    for (int i = 0; i < 2000; ++i) {  // until it has got on, at most 20 s
      if (fs::exists(last) && fs::read_symlink(last) != before) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(3 + 7 * round));
    process.kill();
    kills += process.wait() == -SIGKILL ? 1 : 0;
    const auto state = load_json(last / "state.json");  // whole, whatever the instant
    EXPECT_GE(state["step"], round);                    // the first checkpoint is of step 0
  }
  EXPECT_GE(kills, 2) << "the runs ended before they were killed";
  ASSERT_EQ(finish(dir / "killed", with(often, {"resume=true"}), dir / "log"), 0)
      << read_file(dir / "log");
  EXPECT_EQ(final_bytes(dir / "whole"), final_bytes(dir / "killed"));
}

// No file may grow beyond 300 bytes from step 12 on: what a full disk looks like to write().
TEST(Resume, FullDiskKeepsThePreviousCheckpoint) {
  const TempFolder dir;
  const auto quiet = with(kRun, {"log-every=1000", "validate-every=0"});
  ASSERT_EQ(finish(dir / "whole", quiet, dir / "log"), 0) << read_file(dir / "log");
  ASSERT_EQ(finish(dir / "full", with(quiet, {"limit-at=12"}), dir / "log"), 3);
  const std::string message = read_file(dir / "log");
  EXPECT_NE(message.find("weights.safetensors"), std::string::npos) << message;
  EXPECT_EQ(load_json(dir / "full" / "checkpoints/last/state.json")["step"], 10);
  for (const auto& entry : fs::directory_iterator(dir / "full" / "checkpoints"))
    EXPECT_NE(entry.path().filename().string().substr(0, 4), ".tmp") << "left behind";
  ASSERT_EQ(finish(dir / "full", with(quiet, {"resume=true"}), dir / "log"), 0)
      << read_file(dir / "log");
  EXPECT_EQ(final_bytes(dir / "whole"), final_bytes(dir / "full"));
}

}  // namespace
}  // namespace parapet::test
