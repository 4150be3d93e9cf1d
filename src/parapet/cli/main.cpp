#include "parapet/cli/command.h"

int main(int argc, char** argv) { return parapet::cli::run_command_line(argc, argv); }
