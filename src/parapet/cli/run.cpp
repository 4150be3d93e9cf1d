// From argv to exit code: builds the CLI11 tree from the option listings, applies recipe then
// flags, runs the command.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <iostream>
#include <nlohmann/json.hpp>

#include "parapet/cli/command.h"
#include "parapet/cli/terminal.h"
#include "parapet/core/error.h"
#include "parapet/core/strings.h"

#ifndef PARAPET_VERSION
#define PARAPET_VERSION "0.1.0"
#endif

namespace parapet::cli {
namespace {

std::atomic<bool> g_cancelled{false};

void on_interrupt(int) {
  // A second Ctrl-C ends the program at once.
  if (g_cancelled.exchange(true)) ::_exit(130);
}

std::string type_hint(const Option& option) {
  static constexpr const char* kNames[] = {"", "INT", "NUMBER", "TEXT", "A,B,..", "X,Y,.."};
  if (!option.choices.empty()) return join(option.choices, "|");
  return kNames[option.value.index()];
}

std::string default_text(const Option& option) {
  nlohmann::json value;
  std::visit([&](auto* v) { value = *v; }, option.value);
  if (value.is_string() && value.get<std::string>().empty()) return "";
  if (value.is_array() && value.empty()) return "";
  if (value.is_boolean()) return value.get<bool>() ? "on" : "";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// One command's options as CLI11 sees them. Values are kept as text and applied after the recipe.
struct Binding {
  CommandEntry entry;
  std::unique_ptr<Command> command;
  CommonOptions common;
  OptionList list;
  std::map<std::string, std::string> given;
  std::string config;
  bool print_config = false;
  CLI::App* app = nullptr;
};

void bind(Binding& binding) {
  binding.command->visit(binding.list);
  binding.common.visit(binding.list);
  CLI::App& app = *binding.app;
  app.add_option("--config", binding.config, "TOML recipe; flags win over it")->type_name("FILE");
  app.add_flag("--print-config", binding.print_config, "print the resolved recipe and stop");
  for (const Option& option : binding.list.options()) {
    const std::string flag = "--" + option.name;
    std::string help = option.help + (option.required ? " (required)" : "");
    std::string& slot = binding.given[option.name];
    if (std::holds_alternative<bool*>(option.value)) {
      app.add_flag_function(
          flag + ",!--no-" + option.name, [&slot](int64_t n) { slot = n > 0 ? "true" : "false"; },
          help);
      continue;
    }
    auto* added = app.add_option(flag, slot, help);
    added->type_name(type_hint(option));
    const std::string fallback = default_text(option);
    if (!fallback.empty()) added->default_str(fallback);
  }
}

void resolve(Binding& binding) {
  std::vector<std::string> set;
  if (!binding.config.empty()) set = load_toml(binding.list, binding.config);
  Problems problems;
  for (const Option& option : binding.list.options()) {
    const bool from_flag = binding.app->get_option_no_throw("--" + option.name)->count() > 0;
    if (from_flag) {
      try {
        set_option(option, binding.given[option.name]);
      } catch (const UsageError& error) {
        problems.add("flag", error.what());
      }
    } else if (option.required && std::find(set.begin(), set.end(), option.name) == set.end()) {
      problems.add("--" + option.name, "is required: " + option.help);
    }
  }
  if (!binding.print_config) {
    binding.common.validate(problems);
    binding.command->validate(problems);
  }
  problems.throw_if_any("parapet " + binding.entry.path);
}

int execute(Binding& binding, int argc, char** argv) {
  resolve(binding);
  if (binding.print_config) {
    std::cout << to_toml(binding.list);
    return 0;
  }
  Session session;
  session.common = binding.common;
  session.argv.assign(argv, argv + argc);
  session.resolved_toml = to_toml(binding.list);
  session.context = terminal_context(binding.common.quiet);
  session.context.cancel = &g_cancelled;
  const bool silent = binding.common.json || binding.common.quiet;
  session.print = [silent](std::string_view text) {
    if (!silent) std::cout << text << std::endl;
  };
  apply_threads(binding.common.threads);
  const nlohmann::json result = binding.command->run(session);
  if (binding.common.json)
    std::cout << result.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  return 0;
}

CLI::App* find_or_add(CLI::App& root, const std::string& path, const std::string& summary) {
  CLI::App* at = &root;
  for (const auto& word : split(path, ' ')) {
    const auto known =
        at->get_subcommands([&](const CLI::App* app) { return app->get_name() == word; });
    CLI::App* next = known.empty() ? at->add_subcommand(word, "") : known.front();
    at->require_subcommand(0, 1);
    at = next;
  }
  at->description(summary);
  return at;
}

int report(const std::string& message, int code) {
  std::cerr << "parapet: " << message << "\n";
  return code;
}

}  // namespace

int run_command_line(int argc, char** argv) {
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  std::signal(SIGPIPE, SIG_IGN);
  try {
    CLI::App root{"Parapet: harden, attack, guard and filter multimodal models."};
    root.set_version_flag("--version", std::string("parapet ") + PARAPET_VERSION);
    std::vector<std::unique_ptr<Binding>> bindings;
    for (auto& entry : all_commands()) {
      auto binding = std::make_unique<Binding>();
      binding->command = entry.make();
      binding->app = find_or_add(root, entry.path, entry.summary);
      binding->app->footer(entry.help);
      binding->entry = std::move(entry);
      bind(*binding);
      bindings.push_back(std::move(binding));
    }
    for (CLI::App* group : root.get_subcommands({}))
      if (group->get_description().empty()) {
        std::vector<std::string> nouns;
        for (CLI::App* noun : group->get_subcommands({})) nouns.push_back(noun->get_name());
        group->description(group->get_name() + " " + join(nouns, " | "));
      }
    try {
      root.parse(argc, argv);
    } catch (const CLI::Success& done) {
      return root.exit(done);
    } catch (const CLI::ParseError& error) {
      return report(std::string(error.what()) + ". See parapet --help.", 2);
    }
    for (auto& binding : bindings)
      if (binding->app->parsed()) return execute(*binding, argc, argv);
    // A group or nothing: show what there is.
    CLI::App* deepest = &root;
    while (!deepest->get_subcommands().empty()) deepest = deepest->get_subcommands().front();
    std::cerr << deepest->help();
    return 2;
  } catch (const Error& error) {
    return report(error.what(), error.exit_code());
  } catch (const std::bad_alloc&) {
    return report("out of memory", 1);
  } catch (const std::exception& error) {
    return report(std::string("internal error: ") + error.what(), 1);
  }
}

}  // namespace parapet::cli
