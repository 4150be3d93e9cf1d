// One class per command, one file per command; commands.cpp lists them all.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "parapet/core/context.h"
#include "parapet/core/options.h"
#include "parapet/core/run_record.h"

namespace parapet::cli {

// Flags that every command takes.
struct CommonOptions {
  std::string device = "cpu";
  std::string dtype = "auto";
  int64_t threads = 0;
  int64_t seed = 0;
  bool json = false;
  bool quiet = false;
  void visit(OptionList& list);
  void validate(Problems& problems) const;
};

// What a command runs with.
struct Session {
  Context context;
  CommonOptions common;
  std::vector<std::string> argv;
  std::string resolved_toml;  // every option of the command after recipe and flags
  // Human-readable lines on stdout; silent under --json and --quiet.
  std::function<void(std::string_view)> print;
  std::chrono::system_clock::time_point started = std::chrono::system_clock::now();
};

// What run_record() needs of a session; `inputs` as in RunInfo, e.g. {{"model", dir}}.
RunInfo run_info(const Session& session, std::map<std::string, std::filesystem::path> inputs);

class Command {
 public:
  virtual ~Command() = default;
  // Lists this command's own options; the common ones are added by the caller.
  virtual void visit(OptionList& list) = 0;
  virtual void validate(Problems& /*problems*/) const {}
  // Does the work and returns the machine-readable result (printed under --json).
  virtual nlohmann::json run(const Session& session) = 0;
  // Called once the result was printed: throws CheckFailed when a gate that the user asked for did
  // not hold, so that exit 4 still comes with its result.
  virtual void check_gate() const {}
};

struct CommandEntry {
  std::string path;     // "harden safe-clip"
  std::string summary;  // one line for the list
  std::string help;     // a paragraph and examples for --help
  std::function<std::unique_ptr<Command>()> make;
};

// All commands, in the order --help shows them (commands.cpp).
std::vector<CommandEntry> all_commands();

// Parses, runs, prints, and turns every exception into an exit code.
int run_command_line(int argc, char** argv);
// The same with other commands than all_commands(); for tests.
int run_command_line(int argc, char** argv, std::vector<CommandEntry> entries);

}  // namespace parapet::cli
