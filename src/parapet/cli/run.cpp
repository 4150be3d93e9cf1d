// From argv to exit code: builds the CLI11 tree from the option listings, applies recipe then
// flags, runs the command.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>
#include <nlohmann/json.hpp>

#include "parapet/cli/command.h"
#include "parapet/cli/failure.h"
#include "parapet/cli/help.h"
#include "parapet/cli/terminal.h"
#include "parapet/core/error.h"
#include "parapet/core/strings.h"
#include "parapet/core/version.h"
#include "parapet/nn/device.h"

namespace parapet::cli {
namespace {

std::atomic<bool> g_cancelled{false};

void on_interrupt(int) {
  // A second Ctrl-C ends the program at once.
  if (g_cancelled.exchange(true)) ::_exit(130);
}

// One command's options as CLI11 sees them. Values are kept as text and applied after the recipe.
struct Binding {
  CommandEntry entry;
  std::unique_ptr<Command> command;
  CommonOptions common;
  OptionList own, shared;
  std::map<std::string, std::string> given;
  std::string config;
  bool print_config = false;
  CLI::App* app = nullptr;

  OptionList all() {
    OptionList list;
    command->visit(list);
    common.visit(list);
    return list;
  }
};

// Hands --help to help.cpp; CLI11's own layout knows neither required nor common flags.
class HelpText : public CLI::Formatter {
 public:
  explicit HelpText(std::function<std::string()> text) : text_(std::move(text)) {}
  std::string make_help(const CLI::App*, std::string, CLI::AppFormatMode) const override {
    return text_();
  }

 private:
  std::function<std::string()> text_;
};

std::string path_of(const CLI::App* app) {
  if (app->get_parent() == nullptr) return "";
  const std::string above = path_of(app->get_parent());
  return above.empty() ? app->get_name() : above + " " + app->get_name();
}

void bind(Binding& binding) {
  binding.command->visit(binding.own);
  binding.common.visit(binding.shared);
  CLI::App& app = *binding.app;
  app.add_option("--config", binding.config);
  app.add_flag("--print-config", binding.print_config);
  for (const OptionList* list : {&binding.own, &binding.shared}) {
    for (const Option& option : list->options()) {
      const std::string flag = "--" + option.name;
      std::string& slot = binding.given[option.name];
      if (std::holds_alternative<bool*>(option.value)) {
        app.add_flag_function(flag + ",!--no-" + option.name,
                              [&slot](int64_t n) { slot = n > 0 ? "true" : "false"; });
        continue;
      }
      auto* added = app.add_option(flag, slot);
      const bool many = std::holds_alternative<std::vector<std::string>*>(option.value) ||
                        std::holds_alternative<std::vector<double>*>(option.value);
      // "--x a --x b" is "--x a,b".
      if (many) added->delimiter(',')->multi_option_policy(CLI::MultiOptionPolicy::Join);
    }
  }
  app.formatter(std::make_shared<HelpText>(
      [&binding] { return command_help(binding.entry, binding.own, binding.shared); }));
}

bool is_empty(const Option& option) {
  if (const auto* text = std::get_if<std::string*>(&option.value)) return (*text)->empty();
  if (const auto* list = std::get_if<std::vector<std::string>*>(&option.value))
    return (*list)->empty();
  if (const auto* list = std::get_if<std::vector<double>*>(&option.value)) return (*list)->empty();
  return false;
}

void apply_flag(const OptionList& list, const Option& option, const std::string& text,
                Problems& problems) {
  // "--model --json": the next flag was taken for a value.
  if (text.rfind("--", 0) == 0 && list.find(text.substr(2)) != nullptr) {
    problems.add("--" + option.name, "needs a value");
    return;
  }
  try {
    set_option(option, text);
  } catch (const UsageError& error) {
    problems.add(error.what());
  }
}

// Defaults, then the recipe, then flags; every problem is reported at once.
void resolve(Binding& binding) {
  const OptionList list = binding.all();
  std::vector<std::string> set;
  if (!binding.config.empty()) set = load_toml(list, binding.config);
  Problems problems;
  for (const Option& option : list.options()) {
    const bool from_flag = binding.app->get_option("--" + option.name)->count() > 0;
    if (from_flag) apply_flag(list, option, binding.given[option.name], problems);
    const bool given = from_flag || std::find(set.begin(), set.end(), option.name) != set.end();
    // A printed recipe holds "" for what was not given yet.
    if (option.required && (!given || is_empty(option)) && !binding.print_config)
      problems.add("--" + option.name, "is required: " + option.help);
  }
  if (!binding.print_config) {
    binding.common.validate(problems);
    binding.command->validate(problems);
  }
  problems.throw_if_any("parapet " + binding.entry.path);
}

Session make_session(const Binding& binding, const OptionList& list, int argc, char** argv) {
  Session session;
  session.common = binding.common;
  session.argv.assign(argv, argv + argc);
  session.resolved_toml = to_toml(list);
  session.context = terminal_context(binding.common.quiet);
  session.context.cancel = &g_cancelled;
  const bool silent = binding.common.json || binding.common.quiet;
  session.print = [silent](std::string_view text) {
    if (!silent) std::cout << text << std::endl;
  };
  return session;
}

int execute(Binding& binding, int argc, char** argv) {
  resolve(binding);
  const OptionList list = binding.all();
  if (binding.print_config) {
    std::cout << to_toml(list);
  } else {
    nn::require_device(binding.common.device);  // before anything is loaded
    const Session session = make_session(binding, list, argc, argv);
    apply_threads(binding.common.threads);
    const nlohmann::json result = binding.command->run(session);
    if (binding.common.json)
      std::cout << result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  }
  if (!std::cout.flush()) throw DataError("stdout", "write failed");
  if (!binding.print_config) binding.command->check_gate();
  return 0;
}

CLI::App* find_or_add(CLI::App& root, const std::vector<CommandEntry>& entries,
                      const std::string& path) {
  CLI::App* at = &root;
  for (const auto& word : split(path, ' ')) {
    const auto known =
        at->get_subcommands([&](const CLI::App* app) { return app->get_name() == word; });
    CLI::App* next = known.empty() ? nullptr : known.front();
    if (next == nullptr) {
      next = at->add_subcommand(word, "");
      next->formatter(std::make_shared<HelpText>(
          [&entries, next] { return group_help(entries, path_of(next)); }));
    }
    at->require_subcommand(0, 1);
    at = next;
  }
  return at;
}

CLI::App* deepest_parsed(CLI::App& root) {
  CLI::App* at = &root;
  while (!at->get_subcommands().empty()) at = at->get_subcommands().front();
  return at;
}

// What is wrong with the words CLI11 could not place, with the nearest name that exists.
[[noreturn]] void fail_parse(CLI::App& root, const CLI::ParseError& error) {
  const CLI::App* app = deepest_parsed(root);
  const std::string path = path_of(app);
  const std::string command = path.empty() ? "parapet" : "parapet " + path;
  const std::string see = " See `" + command + " --help`.";
  const auto left = app->remaining();
  if (left.empty()) throw UsageError(command + ": " + error.what() + "." + see);
  const std::string word = left.front().substr(0, left.front().find('='));
  std::vector<std::string> known;
  const bool flag = word.rfind("-", 0) == 0;
  if (flag) {
    for (const CLI::Option* option : app->get_options()) known.push_back(option->get_name());
  } else {
    for (const CLI::App* sub : app->get_subcommands({})) known.push_back(sub->get_name());
  }
  const char* kind = flag ? "flag" : known.empty() ? "argument" : "command";
  const std::string near = closest_name(word, known);
  throw UsageError(command + ": unknown " + kind + " '" + word + "'" +
                   (near.empty() ? "." : ", did you mean '" + near + "'?") + see);
}

int parse_and_run(int argc, char** argv, const std::vector<CommandEntry>& entries) {
  CLI::App root{"", "parapet"};
  root.set_version_flag("--version", "parapet " + std::string(version()));
  root.formatter(std::make_shared<HelpText>([&] { return group_help(entries, ""); }));
  std::vector<std::unique_ptr<Binding>> bindings;
  for (const auto& entry : entries) {
    auto binding = std::make_unique<Binding>();
    binding->entry = entry;
    binding->command = entry.make();
    binding->app = find_or_add(root, entries, entry.path);
    bind(*binding);
    bindings.push_back(std::move(binding));
  }
  try {
    root.parse(argc, argv);
  } catch (const CLI::Success& done) {
    return root.exit(done);
  } catch (const CLI::ParseError& error) {
    fail_parse(root, error);
  }
  for (auto& binding : bindings)
    if (binding->app->parsed()) return execute(*binding, argc, argv);
  // A group or nothing: show what there is.
  std::cerr << deepest_parsed(root)->help();
  return 2;
}

}  // namespace

int run_command_line(int argc, char** argv, std::vector<CommandEntry> entries) {
  g_cancelled = false;
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  std::signal(SIGPIPE, SIG_IGN);
  try {
    return parse_and_run(argc, argv, entries);
  } catch (...) {
    return report_current_exception();
  }
}

int run_command_line(int argc, char** argv) { return run_command_line(argc, argv, all_commands()); }

}  // namespace parapet::cli
