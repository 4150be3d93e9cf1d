// What --help prints, made from the command entries and their option listings.
#pragma once
#include <string>
#include <vector>

#include "parapet/cli/command.h"

namespace parapet::cli {

// One command: usage, its paragraph, its own flags (required ones first), the common flags.
std::string command_help(const CommandEntry& entry, const OptionList& own,
                         const OptionList& common);

// The commands whose path starts with `prefix` ("" = all), with their summaries.
std::string group_help(const std::vector<CommandEntry>& entries, const std::string& prefix);

}  // namespace parapet::cli
