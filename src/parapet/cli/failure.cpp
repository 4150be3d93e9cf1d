#include "parapet/cli/failure.h"

#include <c10/util/Exception.h>

#include <filesystem>
#include <iostream>
#include <new>
#include <string>

#include "parapet/core/error.h"

namespace parapet::cli {
namespace {

int report(const std::string& message, int code) {
  // Usage errors already start with the command they are about.
  const bool named = message.rfind("parapet ", 0) == 0 || message.rfind("parapet:", 0) == 0;
  std::cerr << (named ? "" : "parapet: ") << message << std::endl;
  return code;
}

}  // namespace

int report_current_exception() {
  try {
    throw;
  } catch (const Error& error) {
    return report(error.what(), error.exit_code());
  } catch (const std::bad_alloc&) {
    return report("out of memory", 1);
  } catch (const c10::OutOfMemoryError&) {
    return report("out of device memory; try a smaller batch", 1);
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    if (what.find("DefaultCPUAllocator: can't allocate memory") != std::string::npos)
      return report("out of memory", 1);
    return report("internal error: " + what, 1);
  } catch (const std::filesystem::filesystem_error& error) {
    // A path that cannot be created, listed or removed: the user's to mend.
    const std::string path = error.path1().string();
    return report((path.empty() ? "" : path + ": ") + error.code().message() +
                      ". Check the path and its permissions.",
                  3);
  } catch (const std::exception& error) {
    return report(std::string("internal error: ") + error.what(), 1);
  } catch (...) {
    return report("internal error of unknown type", 1);
  }
}

}  // namespace parapet::cli
