#include "parapet/core/free_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <string>

namespace parapet {
namespace {

namespace fs = std::filesystem;

// The number behind `key` in a file of lines "key number ..."; behind nothing with an empty key.
std::optional<int64_t> number_in(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  std::string word;
  while (in >> word) {
    if (!key.empty()) {
      const bool found = word == key;
      std::string rest;
      if (found && !(in >> word)) return std::nullopt;
      std::getline(in, rest);
      if (!found) continue;
    }
    int64_t value = 0;
    const auto [end, code] = std::from_chars(word.data(), word.data() + word.size(), value);
    // "max" and the first version's 2^63 - 4096 mean that there is no limit.
    if (code != std::errc() || value >= int64_t{1} << 60) return std::nullopt;
    return value;
  }
  return std::nullopt;
}

// What a control group's folder still allows. Pages of files that lie idle are given back before
// the limit acts.
std::optional<int64_t> left_in(const fs::path& group, const char* limit, const char* usage) {
  const auto most = number_in(group / limit, ""), used = number_in(group / usage, "");
  if (!most || !used) return std::nullopt;
  const int64_t idle = number_in(group / "memory.stat", "inactive_file").value_or(0);
  return std::max<int64_t>(0, *most - *used + idle);
}

// The group's path within a hierarchy, from lines "number:controllers:/path".
std::string group_path(const fs::path& root, const std::string& controllers) {
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    if (line.substr(first + 1, second - first - 1) != controllers) continue;
    const std::string path = line.substr(second + 1);
    return path.substr(std::min(path.find_first_not_of('/'), path.size()));
  }
  return "";
}

// The least that a group and the groups around it leave.
int64_t least_left(int64_t bytes, const fs::path& hierarchy, const std::string& path,
                   const char* limit, const char* usage) {
  for (fs::path group = path;; group = group.parent_path()) {
    if (const auto left = left_in(hierarchy / group, limit, usage)) bytes = std::min(bytes, *left);
    if (group.empty()) return bytes;
  }
}

}  // namespace

int64_t free_memory(const fs::path& root) {
  const auto available = number_in(root / "proc/meminfo", "MemAvailable:");
  if (!available) return -1;
  int64_t bytes = *available * 1024;
  bytes = least_left(bytes, root / "sys/fs/cgroup", group_path(root, ""), "memory.max",
                     "memory.current");
  return least_left(bytes, root / "sys/fs/cgroup/memory", group_path(root, "memory"),
                    "memory.limit_in_bytes", "memory.usage_in_bytes");
}

int64_t resident_memory() {
  std::ifstream in("/proc/self/statm");
  int64_t size = 0, resident = 0;
  if (!(in >> size >> resident)) return -1;
  return resident * ::sysconf(_SC_PAGESIZE);
}

int64_t peak_memory() {
  // Of this program alone: getrusage's figure starts with what the process held before exec, so a
  // large parent's shows in a small child's.
  if (const auto peak = number_in("/proc/self/status", "VmHWM:")) return *peak * 1024;
  rusage usage{};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return -1;
#ifdef __APPLE__
  return usage.ru_maxrss;
#else
  return int64_t{usage.ru_maxrss} * 1024;
#endif
}

}  // namespace parapet
