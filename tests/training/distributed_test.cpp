#include "parapet/training/distributed.h"

#include <ATen/ATen.h>
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "parapet/core/error.h"
#include "parapet/formats/jsonl.h"
#include "temp_dir.h"
#include "toy_process.h"

namespace parapet::test {
namespace {

namespace fs = std::filesystem;

int64_t free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  ::close(fd);
  return ntohs(address.sin_port);
}

std::map<std::string, std::string> rank_variables(int64_t rank, int64_t world, int64_t port) {
  return {{"RANK", std::to_string(rank)},
          {"WORLD_SIZE", std::to_string(world)},
          {"LOCAL_RANK", std::to_string(rank)},
          {"MASTER_ADDR", "127.0.0.1"},
          {"MASTER_PORT", std::to_string(port)}};
}

WorldInfo environment(const std::map<std::string, std::string>& variables) {
  return world_from_environment([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string usage_error(const std::map<std::string, std::string>& variables) {
  try {
    environment(variables);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(World, ComesFromTorchrunsVariables) {
  EXPECT_EQ(environment({}).world_size, 1);
  auto variables = rank_variables(3, 8, 1234);
  variables["LOCAL_RANK"] = "1";
  const auto info = environment(variables);
  EXPECT_EQ(info.rank, 3);
  EXPECT_EQ(info.world_size, 8);
  EXPECT_EQ(info.local_rank, 1);
  EXPECT_EQ(info.master_addr, "127.0.0.1");
  EXPECT_EQ(info.master_port, 1234);
  EXPECT_FALSE(info.launcher_store);
  variables["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  EXPECT_TRUE(environment(variables).launcher_store);
}

TEST(World, BadVariablesAreNamed) {
  EXPECT_NE(usage_error({{"RANK", "0"}}).find("WORLD_SIZE"), std::string::npos);
  EXPECT_NE(usage_error({{"WORLD_SIZE", "2"}}).find("RANK"), std::string::npos);
  const auto alone = usage_error({{"RANK", "0"}, {"WORLD_SIZE", "2"}});
  EXPECT_NE(alone.find("MASTER_ADDR"), std::string::npos) << alone;
  EXPECT_NE(alone.find("MASTER_PORT"), std::string::npos) << alone;
  EXPECT_NE(usage_error(rank_variables(2, 2, 1234)).find("RANK"), std::string::npos);
  EXPECT_NE(usage_error(rank_variables(0, 2, 99999)).find("MASTER_PORT"), std::string::npos);
  auto variables = rank_variables(0, 2, 1234);
  variables["RANK"] = "first";
  EXPECT_NE(usage_error(variables).find("'first'"), std::string::npos);
  EXPECT_NE(usage_error({{"RANK", "0"}, {"WORLD_SIZE", "0"}}), "");
}

TEST(World, OfOneIsTheIdentity) {
  const auto world = make_communicator({}, "cpu");
  const auto x = at::rand({3, 2}).set_requires_grad(true);
  EXPECT_TRUE(world->gather(x).is_same(x));
  std::vector<at::Tensor> list = {at::ones({2})};
  world->all_reduce_mean(list);
  EXPECT_TRUE(list[0].equal(at::ones({2})));
  EXPECT_TRUE(world->is_main());
}

TEST(World, MissingPeersAreNamed) {
  WorldInfo info = environment(rank_variables(0, 3, free_port()));
  info.timeout_seconds = 1;
  try {
    make_communicator(info, "cpu");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("1, 2"), std::string::npos) << error.what();
  }
  info.rank = 1;
  EXPECT_THROW(make_communicator(info, "cpu"), UsageError) << "nobody listens";
}

// Runs `fn(communicator)` as every rank, each on a thread of its own (Gloo allows that).
void on_ranks(int64_t world_size, const std::function<void(Communicator&)>& fn) {
  const int64_t port = free_port();
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < world_size; ++rank)
    threads.emplace_back([&, rank] {
      WorldInfo info = environment(rank_variables(rank, world_size, port));
      info.timeout_seconds = 30;
      const auto world = make_communicator(info, "cpu");
      fn(*world);
      world->barrier();
    });
  for (auto& thread : threads) thread.join();
}

TEST(ProcessGroup, CollectivesCarryValuesAndTypes) {
  on_ranks(2, [](Communicator& world) {
    const auto rank = static_cast<double>(world.rank());
    std::vector<at::Tensor> list = {at::full({2, 2}, rank), at::full({3}, 10 * rank + 1),
                                    at::full({}, rank, at::kDouble)};
    world.all_reduce_mean(list);
    EXPECT_TRUE(list[0].equal(at::full({2, 2}, 0.5)));
    EXPECT_TRUE(list[1].equal(at::full({3}, 6.0)));
    EXPECT_EQ(list[2].item<double>(), 0.5);
    std::vector<at::Tensor> sent = {at::full({2}, rank + 5),
                                    at::full({1}, world.rank(), at::kLong)};
    world.broadcast(sent, 1);
    EXPECT_TRUE(sent[0].equal(at::full({2}, 6.0)));
    EXPECT_EQ(sent[1].item<int64_t>(), 1);
    const auto bytes = world.gather(at::full({1, 3}, world.rank(), at::kByte));
    EXPECT_TRUE(bytes.equal(at::tensor({0, 0, 0, 1, 1, 1}, at::kByte).view({2, 3})));
  });
}

// Every rank's loss is the same function of all rows; the mean over ranks of the rows' gradients
// must be the one-process gradient.
TEST(ProcessGroup, GatherGradientEqualsOneProcess) {
  const auto all = at::linspace(-1, 1, 12).view({4, 3});
  const auto loss_of = [](const at::Tensor& rows) {
    return at::log_softmax(at::matmul(rows, rows.t()), 1).diagonal().sum();
  };
  auto whole = all.clone().set_requires_grad(true);
  loss_of(whole).backward();
  on_ranks(2, [&](Communicator& world) {
    auto own = all.narrow(0, 2 * world.rank(), 2).clone().set_requires_grad(true);
    const auto rows = world.gather(own);
    EXPECT_TRUE(rows.detach().equal(all));
    loss_of(rows).backward();
    const auto want = whole.grad().narrow(0, 2 * world.rank(), 2);
    EXPECT_LE((own.grad() / 2 - want).abs().max().item<float>(), 1e-6f) << "rank " << world.rank();
  });
}

std::vector<double> losses(const fs::path& run) {
  std::vector<double> list;
  read_jsonl(run / "metrics.jsonl", [&](const nlohmann::json& line, const std::string&) {
    if (line.contains("loss")) list.push_back(line["loss"]);
  });
  return list;
}

const std::vector<std::string> kTraining = {"max-steps=25", "lr=0.02", "warmup-steps=3",
                                            "validate-every=10", "checkpoint-every=10"};

// Two ranks of the toy program; the exit codes.
std::vector<int> run_pair(const TempDir& dir, const std::string& run,
                          std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), kTraining.begin(), kTraining.end());
  const int64_t port = free_port();
  ToyProcess first(dir / run, arguments, dir / "log0", rank_variables(0, 2, port));
  ToyProcess second(dir / run, arguments, dir / "log1", rank_variables(1, 2, port));
  return {first.wait(), second.wait()};
}

void expect_same_curve(const fs::path& one, const fs::path& two) {
  const auto expected = losses(one), got = losses(two);
  ASSERT_EQ(expected.size(), 25u);
  ASSERT_EQ(got.size(), 25u);
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], 1e-4) << "step " << i;
  EXPECT_LT(got.back(), 0.9 * got.front()) << "it must learn for this to mean anything";
}

TEST(ProcessGroup, TwoProcessesEqualOneWithTheDoubledBatch) {
  const TempDir dir;
  auto single = kTraining;
  single.push_back("batch=16");
  ASSERT_EQ(ToyProcess(dir / "one", single, dir / "log").wait(), 0) << read_file(dir / "log");
  ASSERT_EQ(run_pair(dir, "two", {"batch=8"}), (std::vector<int>{0, 0}))
      << read_file(dir / "log0") << read_file(dir / "log1");
  expect_same_curve(dir / "one", dir / "two");
}

TEST(ProcessGroup, TorchrunLaunchesIt) {
  const std::string torchrun = std::string(PARAPET_SOURCE_DIR) + "/.venv/bin/torchrun";
  if (!fs::exists(torchrun)) GTEST_SKIP() << "no torchrun in .venv";
  const TempDir dir;
  auto single = kTraining;
  single.push_back("batch=16");
  ASSERT_EQ(ToyProcess(dir / "one", single, dir / "log").wait(), 0) << read_file(dir / "log");
  std::vector<std::string> words = {torchrun,
                                    "--standalone",
                                    "--no-python",
                                    "--nproc-per-node=2",
                                    PARAPET_TRAINING_TOY,
                                    (dir / "two").string(),
                                    "batch=8"};
  words.insert(words.end(), kTraining.begin(), kTraining.end());
  ASSERT_EQ(ToyProcess(words, dir / "log").wait(), 0) << read_file(dir / "log");
  expect_same_curve(dir / "one", dir / "two");
}

TEST(ProcessGroup, ResumesBitIdenticallyWithDropoutPerRank) {
  const TempDir dir;
  ASSERT_EQ(run_pair(dir, "whole", {"dropout=0.2"}), (std::vector<int>{0, 0}));
  const auto killed = run_pair(dir, "killed", {"dropout=0.2", "kill-at=17", "timeout=20"});
  EXPECT_EQ(killed, (std::vector<int>{-SIGKILL, -SIGKILL}));
  ASSERT_EQ(run_pair(dir, "killed", {"dropout=0.2", "resume=true"}), (std::vector<int>{0, 0}))
      << read_file(dir / "log0") << read_file(dir / "log1");
  EXPECT_EQ(final_bytes(dir / "whole"), final_bytes(dir / "killed"));
  // Another number of processes cannot go on with this run.
  auto single = kTraining;
  single.insert(single.end(), {"resume=true"});
  EXPECT_EQ(ToyProcess(dir / "whole", single, dir / "log").wait(), 2);
  EXPECT_NE(read_file(dir / "log").find("2 processes"), std::string::npos);
}

TEST(ProcessGroup, NanOnOneRankStopsAll) {
  const TempDir dir;
  auto bad = kTraining;
  bad.push_back("nan-at=3");
  const int64_t port = free_port();
  ToyProcess first(dir / "nan", kTraining, dir / "log0", rank_variables(0, 2, port));
  ToyProcess second(dir / "nan", bad, dir / "log1", rank_variables(1, 2, port));
  EXPECT_EQ(first.wait(), 4);
  EXPECT_EQ(second.wait(), 4);
  EXPECT_NE(read_file(dir / "log0").find("step 4"), std::string::npos) << read_file(dir / "log0");
}

TEST(ProcessGroup, ALostPeerEndsInAnError) {
  const TempDir dir;
  const int64_t port = free_port();
  auto arguments = kTraining;
  arguments.push_back("timeout=20");
  auto dying = arguments;
  dying.push_back("kill-at=5");
  ToyProcess first(dir / "lost", arguments, dir / "log0", rank_variables(0, 2, port));
  ToyProcess second(dir / "lost", dying, dir / "log1", rank_variables(1, 2, port));
  EXPECT_EQ(second.wait(), -SIGKILL);
  EXPECT_EQ(first.wait(), 1);
  EXPECT_NE(read_file(dir / "log0").find("another process ended"), std::string::npos)
      << read_file(dir / "log0");
}

}  // namespace
}  // namespace parapet::test
