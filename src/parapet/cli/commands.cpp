// The one list of commands. To add one: write its file, declare its entry here, append it.
#include "parapet/cli/command.h"

namespace parapet::cli {

std::vector<CommandEntry> all_commands() { return {}; }

}  // namespace parapet::cli
