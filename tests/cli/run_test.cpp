// The command line with commands made for the test: parsing, recipes, help and exit codes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "parapet/cli/command.h"
#include "parapet/core/error.h"
#include "support/temp_folder.h"

namespace parapet::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// What the command under test saw and does.
struct Probe {
  std::string model;
  int64_t steps = 5;
  std::vector<std::string> names;
  bool strict = true;
  uint64_t runs = 0;
  CommonOptions common;
  std::function<void(const Session&)> action;
  std::string gate;  // why check_gate() fails; empty = it holds
};

class ProbeCommand : public Command {
 public:
  explicit ProbeCommand(Probe* probe) : probe_(*probe) {}
  void visit(OptionList& list) override {
    list.require("model", probe_.model, "checkpoint directory");
    list.add("max-steps", probe_.steps, "optimiser steps, > 0");
    list.add("names", probe_.names, "layers to adapt");
    list.add("strict", probe_.strict, "refuse unknown tensors");
  }
  void validate(Problems& problems) const override {
    problems.require(probe_.steps > 0, "--max-steps", "must be > 0");
  }
  nlohmann::json run(const Session& session) override {
    ++probe_.runs;
    probe_.common = session.common;
    session.print("for people");
    if (probe_.action) probe_.action(session);
    return {{"model", probe_.model}, {"bytes", "\xFF"}};
  }
  void check_gate() const override {
    if (!probe_.gate.empty()) throw CheckFailed(probe_.gate);
  }

 private:
  Probe& probe_;
};

struct Outcome {
  int code = 0;
  std::string out, err;
};

class CommandLine : public ::testing::Test {
 protected:
  Outcome run(std::vector<std::string> words) {
    words.insert(words.begin(), "parapet");
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const auto make = [this] { return std::make_unique<ProbeCommand>(&probe); };
    const std::vector<CommandEntry> entries = {
        {"harden probe", "Harden a probe.", "Trains the probe.\n\nExample: parapet harden probe",
         make},
        {"embed", "Embed things.", "", make}};
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    Outcome outcome;
    outcome.code = run_command_line(static_cast<int>(argv.size()) - 1, argv.data(), entries);
    outcome.out = ::testing::internal::GetCapturedStdout();
    outcome.err = ::testing::internal::GetCapturedStderr();
    return outcome;
  }
  Probe probe;
};

TEST_F(CommandLine, FlagsReachTheCommand) {
  const auto done = run({"harden", "probe", "--model", "m", "--max-steps=7", "--names", "a,b",
                         "--names", "c", "--no-strict", "--seed", "9", "--dtype", "bf16"});
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(probe.model, "m");
  EXPECT_EQ(probe.steps, 7);
  EXPECT_EQ(probe.names, (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_FALSE(probe.strict);
  EXPECT_EQ(probe.common.seed, 9);
  EXPECT_EQ(probe.common.dtype, "bf16");
  EXPECT_EQ(done.out, "for people\n");
}

TEST_F(CommandLine, ADeviceThatIsNotThereIsAUsageErrorOfEveryCommand) {
  bool ran = false;
  probe.action = [&](const Session&) { ran = true; };
  for (const char* command : {"embed", "harden"}) {
    std::vector<std::string> words = {command};
    if (words[0] == "harden") words.push_back("probe");
    words.insert(words.end(), {"--model", "m", "--device", "cuda:99"});
    const auto done = run(words);
    EXPECT_EQ(done.code, 2) << command;
    EXPECT_THAT(done.err, HasSubstr("--device cuda:99: this "));
    EXPECT_FALSE(ran);
    words.push_back("--print-config");  // a recipe may be for another machine
    const auto printed = run(words);
    EXPECT_EQ(printed.code, 0) << printed.err;
    EXPECT_THAT(printed.out, HasSubstr("device = 'cuda:99'"));
  }
}

TEST_F(CommandLine, OddValuesArriveWhole) {
  for (const std::string value : {"[a,b]", "-1.5", "embed", "{}", "a b,c", "\"q\"", "%x"}) {
    const auto done = run({"embed", "--model", value});
    EXPECT_EQ(done.code, 0) << done.err;
    EXPECT_EQ(probe.model, value);
  }
}

TEST_F(CommandLine, JsonIsTheLastLineOfStdout) {
  const auto done = run({"embed", "--model", "m", "--json"});
  EXPECT_EQ(done.code, 0);
  // Bytes that are not UTF-8 become the replacement character.
  EXPECT_EQ(done.out, "{\"bytes\":\"\xEF\xBF\xBD\",\"model\":\"m\"}\n");
  EXPECT_EQ(run({"embed", "--model", "m", "--quiet"}).out, "");
}

// Exit 4 comes with the result that explains it.
TEST_F(CommandLine, AFailedGateStillPrintsItsResult) {
  probe.gate = "the gate does not hold";
  const Outcome outcome = run({"embed", "--model", "m", "--json"});
  EXPECT_EQ(outcome.code, 4);
  EXPECT_THAT(outcome.out, HasSubstr("{\"bytes\":"));
  EXPECT_THAT(outcome.err, HasSubstr("the gate does not hold"));
  EXPECT_EQ(run({"embed", "--model", "m", "--print-config"}).code, 0);
}

TEST_F(CommandLine, RecipeThenFlags) {
  const test::TempFolder folder;
  const std::string file = (folder / "r.toml").string();
  std::ofstream(file) << "model = 'from recipe'\nmax_steps = 3\nstrict = false\nseed = 4\n";
  ASSERT_EQ(run({"embed", "--config", file, "--max-steps", "8", "--strict"}).code, 0);
  EXPECT_EQ(probe.model, "from recipe");
  EXPECT_EQ(probe.steps, 8);
  EXPECT_TRUE(probe.strict);
  EXPECT_EQ(probe.common.seed, 4);
}

TEST_F(CommandLine, PrintedRecipeRoundTrips) {
  const test::TempFolder folder;
  const std::string file = (folder / "r.toml").string();
  const auto printed = run({"embed", "--model", "it's", "--names", "a,b", "--print-config"});
  ASSERT_EQ(printed.code, 0);
  EXPECT_EQ(probe.runs, 0u);
  std::ofstream(file) << printed.out;
  probe = Probe{};
  const auto again = run({"embed", "--config", file, "--print-config"});
  EXPECT_EQ(again.out, printed.out);
  EXPECT_EQ(probe.model, "it's");
}

TEST_F(CommandLine, PrintedRecipeWithoutRequiredValueStillAsksForIt) {
  const test::TempFolder folder;
  const std::string file = (folder / "r.toml").string();
  std::ofstream(file) << run({"embed", "--print-config"}).out;
  const auto done = run({"embed", "--config", file});
  EXPECT_EQ(done.code, 2);
  EXPECT_THAT(done.err, HasSubstr("--model: is required"));
}

TEST_F(CommandLine, EveryProblemAtOnce) {
  const auto done = run(
      {"harden", "probe", "--max-steps", "0", "--seed", "x", "--device", "tpu", "--dtype", "fp8"});
  EXPECT_EQ(done.code, 2);
  EXPECT_EQ(probe.runs, 0u);
  EXPECT_THAT(
      done.err,
      AllOf(HasSubstr("parapet harden probe: 5 problems"),
            HasSubstr("--model: is required: checkpoint directory"),
            HasSubstr("--max-steps: must be > 0"), HasSubstr("--seed: 'x' is not an integer"),
            HasSubstr("--device: must be cpu"), HasSubstr("'fp8' is not one of auto")));
  EXPECT_EQ(done.out, "");
}

TEST_F(CommandLine, MistypedNamesGetAHint) {
  auto done = run({"harden", "probe", "--modle", "m"});
  EXPECT_EQ(done.code, 2);
  EXPECT_THAT(done.err, AllOf(HasSubstr("unknown flag '--modle', did you mean '--model'?"),
                              HasSubstr("parapet harden probe --help")));
  done = run({"embd"});
  EXPECT_EQ(done.code, 2);
  EXPECT_THAT(done.err, HasSubstr("unknown command 'embd', did you mean 'embed'?"));
  done = run({"harden", "prob", "--model", "m"});
  EXPECT_EQ(done.code, 2);
  EXPECT_THAT(done.err, HasSubstr("did you mean 'probe'?"));
  done = run({"embed", "--model", "m", "stray"});
  EXPECT_EQ(done.code, 2);
  EXPECT_THAT(done.err, HasSubstr("unknown argument 'stray'"));
  done = run({"embed", "--model", "--json"});
  EXPECT_EQ(done.code, 2);
  EXPECT_THAT(done.err, HasSubstr("--model: needs a value"));
  EXPECT_EQ(run({"embed", "--model"}).code, 2);
  EXPECT_EQ(run({"embed", "--model", "a", "--model", "b"}).code, 2);
  EXPECT_EQ(probe.runs, 0u);
}

TEST_F(CommandLine, HelpTeaches) {
  auto help = run({"harden", "probe", "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, AllOf(HasSubstr("Harden a probe."), HasSubstr("Trains the probe."),
                              HasSubstr("Usage: parapet harden probe --model TEXT [flags]"),
                              HasSubstr("--max-steps INT"), HasSubstr("optimiser steps, > 0 [5]"),
                              HasSubstr("--[no-]strict"), HasSubstr("--dtype auto|fp32|bf16"),
                              HasSubstr("--print-config"), HasSubstr("Flags of every command")));
  EXPECT_LT(help.out.find("--model TEXT"), help.out.find("--max-steps"));
  EXPECT_LT(help.out.find("--max-steps"), help.out.find("--device"));
  help = run({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.out, AllOf(HasSubstr("harden probe  Harden a probe."), HasSubstr("embed")));
  const auto group = run({"harden"});
  EXPECT_EQ(group.code, 2);
  EXPECT_EQ(group.out, "");
  EXPECT_THAT(group.err, AllOf(HasSubstr("harden probe"), Not(HasSubstr("embed"))));
  EXPECT_EQ(run({}).code, 2);
  EXPECT_EQ(run({"--version"}).code, 0);
}

TEST_F(CommandLine, ExceptionsBecomeExitCodes) {
  const std::vector<std::string> words = {"embed", "--model", "m", "--json"};
  probe.action = [](const Session&) { throw DataError("a.jsonl:3", "field 'id' is missing"); };
  auto done = run(words);
  EXPECT_EQ(done.code, 3);
  EXPECT_EQ(done.err, "parapet: a.jsonl:3: field 'id' is missing\n");
  EXPECT_EQ(done.out, "");
  probe.action = [](const Session&) { throw CheckFailed("gate"); };
  EXPECT_EQ(run(words).code, 4);
  probe.action = [](const Session&) { throw UsageError("no"); };
  EXPECT_EQ(run(words).code, 2);
  probe.action = [](const Session&) { throw std::runtime_error("bug"); };
  done = run(words);
  EXPECT_EQ(done.code, 1);
  EXPECT_THAT(done.err, HasSubstr("internal error: bug"));
  probe.action = [](const Session&) { throw std::bad_alloc(); };
  EXPECT_EQ(run(words).code, 1);
  probe.action = [](const Session&) { std::filesystem::create_directory("/nonexistent/a/b"); };
  done = run(words);
  EXPECT_EQ(done.code, 3);
  EXPECT_THAT(done.err, HasSubstr("/nonexistent/a/b: No such file"));
  probe.action = [](const Session&) { TORCH_CHECK(false, "shapes differ"); };
  done = run(words);
  EXPECT_EQ(done.code, 1);
  // One line, without torch's stack.
  EXPECT_EQ(done.err, "parapet: internal error: shapes differ\n");
}

TEST_F(CommandLine, InterruptCancelsOnceAndEndsWith130) {
  probe.action = [](const Session& session) {
    EXPECT_FALSE(session.context.cancelled());
    std::raise(SIGINT);
    EXPECT_TRUE(session.context.cancelled());
    throw Cancelled("checkpoint saved");
  };
  const auto done = run({"embed", "--model", "m"});
  EXPECT_EQ(done.code, 130);
  EXPECT_THAT(done.err, HasSubstr("checkpoint saved"));
  // A later run in one process starts afresh.
  probe.action = nullptr;
  EXPECT_EQ(run({"embed", "--model", "m"}).code, 0);
}

TEST_F(CommandLine, SecondInterruptEndsAtOnce) {
  probe.action = [](const Session&) {
    std::raise(SIGINT);
    std::raise(SIGINT);
    FAIL() << "still running";
  };
  const auto end_twice_interrupted = [this] {
    std::vector<std::string> words = {"parapet", "embed", "--model", "m"};
    std::vector<char*> argv;
    for (auto& word : words) argv.push_back(word.data());
    const auto make = [this] { return std::make_unique<ProbeCommand>(&probe); };
    std::exit(run_command_line(4, argv.data(), {{"embed", "Embed.", "", make}}));
  };
  EXPECT_EXIT(end_twice_interrupted(), ::testing::ExitedWithCode(130), "");
}

TEST_F(CommandLine, RunInfoCarriesSeedConfigAndVersions) {
  RunInfo info;
  probe.action = [&](const Session& session) { info = run_info(session, {{"model", "/tmp"}}); };
  ASSERT_EQ(run({"embed", "--model", "m", "--seed", "5"}).code, 0);
  EXPECT_EQ(info.seed, 5);
  EXPECT_EQ(info.argv.at(1), "embed");
  EXPECT_THAT(info.resolved_toml, HasSubstr("seed = 5"));
  EXPECT_FALSE(info.versions.at("torch").empty());
}

// Every real command: unique path, a summary, help, and a printable recipe.
TEST(Commands, AllAreDescribed) {
  std::set<std::string> paths;
  for (const auto& entry : all_commands()) {
    EXPECT_TRUE(paths.insert(entry.path).second) << entry.path << " twice";
    EXPECT_FALSE(entry.summary.empty()) << entry.path;
    EXPECT_FALSE(entry.help.empty()) << entry.path;
    OptionList list;
    const auto command = entry.make();
    command->visit(list);
    CommonOptions common;
    common.visit(list);
    std::set<std::string> names;
    for (const auto& option : list.options()) {
      EXPECT_TRUE(names.insert(option.name).second)
          << entry.path << " --" << option.name << " twice";
      EXPECT_FALSE(option.help.empty()) << entry.path << " --" << option.name;
      EXPECT_EQ(option.name.find('_'), std::string::npos) << entry.path << " --" << option.name;
    }
    const std::string recipe = to_toml(list);
    load_toml_text(list, recipe, entry.path);
    EXPECT_EQ(to_toml(list), recipe) << entry.path;
  }
}

}  // namespace
}  // namespace parapet::cli
