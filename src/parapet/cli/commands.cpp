// The one list of commands. To add one: write its file, declare its entry here, append it.
#include "parapet/cli/command.h"

namespace parapet::cli {

CommandEntry embed_command();

CommandEntry tokenize_command();  // tokenize.cpp

std::vector<CommandEntry> all_commands() {
  return {
      tokenize_command(),
      embed_command(),
  };
}

}  // namespace parapet::cli
