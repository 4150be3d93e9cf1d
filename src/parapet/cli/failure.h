#pragma once

namespace parapet::cli {

// Inside a catch block: prints the exception for a person on stderr and returns the exit code
// (1 internal, 2 usage, 3 data, 4 failed check, 130 interrupted). The one place where errors of
// ours, of torch and of the standard library become exit codes.
int report_current_exception();

}  // namespace parapet::cli
