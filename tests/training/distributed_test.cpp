#include "parapet/training/distributed.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "parapet/core/error.h"
#include "parapet/data/sources/compose.h"
#include "parapet/data/sources/order.h"
#include "parapet/formats/jsonl.h"
#include "parapet/training/sharding.h"
#include "parapet/training/trainer.h"
#include "support/ranks.h"
#include "support/temp_folder.h"
#include "toy_process.h"

namespace parapet::test {
namespace {

namespace fs = std::filesystem;

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
  EXPECT_EQ(info.local_world_size, 0);  // all of them
  EXPECT_EQ(info.master_addr, "127.0.0.1");
  EXPECT_EQ(info.master_port, 1234);
  EXPECT_FALSE(info.launcher_store);
  variables["LOCAL_WORLD_SIZE"] = "4";
  EXPECT_EQ(environment(variables).local_world_size, 4);
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
  world->all_reduce_sum(list);
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

TEST(ProcessGroup, CollectivesCarryValuesAndTypes) {
  on_ranks(2, [](Communicator& world) {
    const auto rank = static_cast<double>(world.rank());
    std::vector<at::Tensor> list = {at::full({2, 2}, rank), at::full({3}, 10 * rank + 1),
                                    at::full({}, rank, at::kDouble)};
    world.all_reduce_sum(list);
    EXPECT_TRUE(list[0].equal(at::full({2, 2}, 1.0)));
    EXPECT_TRUE(list[1].equal(at::full({3}, 12.0)));
    EXPECT_EQ(list[2].item<double>(), 1.0);
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

// Set-up work may last longer on one process than any collective may take.
TEST(ProcessGroup, MeetingHasNoTimeLimit) {
  on_ranks(
      2,
      [](Communicator& world) {
        if (world.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(2500));
        world.meet({});
        world.meet({});
      },
      1);
}

TEST(ProcessGroup, MeetingNoticesAProcessThatHasEnded) {
  const int64_t port = free_port();
  std::string message;
  std::thread peer([&] {
    WorldInfo info = environment(rank_variables(1, 2, port));
    make_communicator(info, "cpu");  // and leaves
  });
  try {
    make_communicator(environment(rank_variables(0, 2, port)), "cpu")->meet({});
  } catch (const Error& error) {
    message = error.what();
  }
  peer.join();
  EXPECT_NE(message.find("rank 1 has ended"), std::string::npos) << message;
}

TEST(ProcessGroup, MeetingEndsOnCtrlC) {
  on_ranks(2, [](Communicator& world) {
    const std::atomic<bool> cancelled{true};
    Context context;
    if (world.rank() == 0) {
      context.cancel = &cancelled;
      EXPECT_THROW(world.meet(context), Cancelled);
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(300));
    }
  });
}

TEST(ProcessGroup, SharesComeTogetherInOrder) {
  const auto all = at::arange(14, at::kFloat).view({7, 2});
  for (const int64_t chunk : {1, 3, 10})
    on_ranks(3, [&](Communicator& world) {
      const RowRange own = own_share(7, chunk, world);
      EXPECT_TRUE(gather_shares(all.slice(0, own.begin, own.end), world).equal(all));
      EXPECT_EQ(gather_shares(all.slice(0, 0, 0), world).size(0), 0);
    });
}

TEST(World, EveryProcessHasADeviceOfItsOwn) {
  EXPECT_EQ(rank_device("cpu", 3, 4, 0), at::Device(at::kCPU));
  EXPECT_EQ(rank_device("cuda", 3, 4, 4), at::Device(at::kCUDA, 3));
  EXPECT_EQ(rank_device("cuda", 0, 1, 1), at::Device(at::kCUDA, 0));
  EXPECT_EQ(rank_device("cuda:1", 0, 1, 2), at::Device(at::kCUDA, 1));
  const auto refusal = [](const char* option, int64_t local, int64_t world, int64_t devices) {
    try {
      rank_device(option, local, world, devices);
    } catch (const UsageError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(refusal("cuda", 0, 1, 0).find("no CUDA device"), std::string::npos);
  EXPECT_NE(refusal("cuda", 2, 4, 2).find("one process per device"), std::string::npos);
  EXPECT_NE(refusal("cuda:0", 0, 2, 2).find("cannot share"), std::string::npos);
  EXPECT_NE(refusal("cuda:2", 0, 1, 2).find("numbered from 0"), std::string::npos);
  EXPECT_NE(refusal("gpu", 0, 1, 2).find("not cpu"), std::string::npos);
}

// A task over one row of weights: what each rank sees and which of two parameters it uses depends
// on the number of the micro-batch.
class UnevenTask final : public TaskOf<int64_t> {
 public:
  at::Tensor a = at::ones({1}).set_requires_grad(true), b = at::ones({2}).set_requires_grad(true),
             never = at::ones({3}).set_requires_grad(true);

  std::vector<TrainableParameter> parameters() override {
    return {{"a", a, 1.0, true}, {"b", b, 1.0, true}, {"never", never, 1.0, true}};
  }
  SourcePtr<int64_t> batches(const Communicator& world) override {
    return shard_by_rank(numbers_from(0), world.rank(), world.world_size());
  }
  using TaskOf<int64_t>::loss;
  StepLoss loss(int64_t& number, const StepInfo&) override {
    const double value = static_cast<double>(number + 1);
    StepLoss out;
    out.weight = static_cast<double>(1 + (number * 3) % 5);  // as tokens: different everywhere
    out.total = (a * value - 2).square().sum();
    // Odd micro-batches, all those of rank 1 of 2, are "text only": they do not use b.
    if (number % 2 == 0) {
      out.total = out.total + (b * value).square().sum();
      out.terms.push_back({"image", at::scalar_tensor(value)});
    }
    out.terms.push_back({"value", at::scalar_tensor(value)});
    out.samples = 1;
    return out;
  }
  std::map<std::string, double> validate(const StepInfo&) override { return {}; }
};

std::vector<nlohmann::json> lines(const fs::path& run) {
  std::vector<nlohmann::json> list;
  read_jsonl(run / "metrics.jsonl",
             [&](const nlohmann::json& line, const std::string&) { list.push_back(line); });
  return list;
}

TEST(ProcessGroup, UnequalWeightsAndMissingGradientsEqualOneProcess) {
  const TempFolder dir;
  TrainerOptions options;
  options.max_steps = 6;
  options.lr = 0.05;
  options.weight_decay = 0.1;
  options.log_every = 1;
  UnevenTask whole;
  options.accumulate = 4;
  train(whole, options, dir / "one", *make_communicator({}, "cpu"), {});
  options.accumulate = 2;
  std::vector<UnevenTask> halves(2);
  on_ranks(2, [&](Communicator& world) {
    train(halves[static_cast<size_t>(world.rank())], options, dir / "two", world, {});
  });
  EXPECT_TRUE(halves[0].a.equal(halves[1].a));
  EXPECT_TRUE(halves[0].b.equal(halves[1].b));
  EXPECT_LE((whole.a - halves[0].a).abs().max().item<float>(), 1e-6f);
  EXPECT_LE((whole.b - halves[0].b).abs().max().item<float>(), 1e-6f);
  EXPECT_GT((whole.b - 1).abs().max().item<float>(), 0.01f);
  EXPECT_TRUE(halves[0].never.equal(at::ones({3}))) << "nobody has a gradient: no decay either";
  const auto one = lines(dir / "one"), two = lines(dir / "two");
  ASSERT_EQ(one.size(), two.size());
  for (size_t i = 0; i < one.size(); ++i) {
    for (const char* number : {"loss", "grad_norm"}) {
      const double want = one[i][number];
      EXPECT_NEAR(want, two[i][number].get<double>(), 1e-6 * want) << number << " of line " << i;
    }
    EXPECT_EQ(one[i]["terms"].size(), 2u);
    for (const auto& [name, value] : one[i]["terms"].items())
      EXPECT_NEAR(value.get<double>(), two[i]["terms"][name].get<double>(), 1e-9) << name;
  }
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
std::vector<int> run_pair(const TempFolder& dir, const std::string& run,
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
  // Validation, of which each process computes a share.
  size_t validations = 0;
  const auto first = lines(one), second = lines(two);
  for (size_t i = 0; i < first.size(); ++i) {
    if (!first[i].contains("validation")) continue;
    ++validations;
    for (const auto& [name, value] : first[i]["validation"].items())
      EXPECT_NEAR(value.get<double>(), second.at(i)["validation"][name].get<double>(), 1e-3)
          << name;
  }
  EXPECT_EQ(validations, 3u);
}

TEST(ProcessGroup, TwoProcessesEqualOneWithTheDoubledBatch) {
  const TempFolder dir;
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
  const TempFolder dir;
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
  const TempFolder dir;
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
  const TempFolder dir;
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
  const TempFolder dir;
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
