// The command line of the programs that conformance tests drive.
#pragma once
#include <c10/core/ScalarType.h>

#include <iostream>
#include <map>
#include <string>

#include "parapet/core/error.h"

namespace parapet::test {

// "--name value" pairs; a flag that is followed by another flag or nothing is "1".
class Flags {
 public:
  Flags(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      const std::string name = argv[i];
      if (!name.starts_with("--")) throw UsageError("unexpected '" + name + "'");
      const bool has_value = i + 1 < argc && !std::string(argv[i + 1]).starts_with("--");
      values_[name.substr(2)] = has_value ? argv[++i] : "1";
    }
  }
  bool has(const std::string& name) const { return values_.contains(name); }
  std::string get(const std::string& name, const std::string& fallback = "") const {
    const auto it = values_.find(name);
    return it == values_.end() ? fallback : it->second;
  }

 private:
  std::map<std::string, std::string> values_;
};

inline at::ScalarType float_type(const std::string& name) {
  if (name == "fp32") return at::kFloat;
  if (name == "bf16") return at::kBFloat16;
  throw UsageError("dtype '" + name + "'");
}

// What such a program's main() returns: that of `run`, or the exit status of its error.
inline int run_program(int argc, char** argv, int (*run)(const Flags&)) {
  try {
    return run(Flags(argc, argv));
  } catch (const Error& error) {
    std::cerr << error.what() << std::endl;
    return error.exit_code();
  }
}

}  // namespace parapet::test
