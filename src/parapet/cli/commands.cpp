// The one list of commands. To add one: write its file, declare its entry here, append it.
#include "parapet/cli/command.h"

namespace parapet::cli {

CommandEntry embed_command();  // embed.cpp

CommandEntry export_command();  // export.cpp

CommandEntry quantize_command();  // quantize.cpp

CommandEntry train_clip_command();  // train_clip.cpp

CommandEntry train_guard_command();  // train_guard.cpp

CommandEntry eval_guard_command();  // eval_guard.cpp

CommandEntry guard_check_command();  // guard_check.cpp

CommandEntry serve_command();  // serve.cpp

CommandEntry tokenize_command();  // tokenize.cpp

CommandEntry world_build_command();  // world.cpp

CommandEntry world_clip_command();  // world_clip.cpp

CommandEntry data_import_command();  // data_import.cpp

CommandEntry harden_safe_clip_command();  // harden_safe_clip.cpp

CommandEntry eval_retrieval_command();  // eval_retrieval.cpp

CommandEntry eval_zeroshot_command();  // eval_zeroshot.cpp

CommandEntry report_command();  // report.cpp

std::vector<CommandEntry> all_commands() {
  return {
      tokenize_command(),         embed_command(),
      world_build_command(),      world_clip_command(),
      data_import_command(),      train_clip_command(),
      harden_safe_clip_command(), eval_retrieval_command(),
      eval_zeroshot_command(),    report_command(),
      quantize_command(),         export_command(),
      train_guard_command(),      eval_guard_command(),
      guard_check_command(),      serve_command(),
  };
}

}  // namespace parapet::cli
