#include "parapet/core/run_record.h"

#include <unistd.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "parapet/core/error.h"
#include "parapet/core/files.h"
#include "parapet/core/strings.h"
#include "parapet/core/version.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr uintmax_t kHashedBytes = uintmax_t{16} << 20;

std::string utc_text(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// Regular files below a directory, sorted so that the hash does not depend on the file system.
std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  const auto options = fs::directory_options::skip_permission_denied;
  for (const auto& entry : fs::recursive_directory_iterator(folder, options))
    if (entry.is_regular_file()) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

// Configurations, lists and small weights; not the thousands of pictures of a data set.
bool hashed_whole(const fs::path& file, uintmax_t size) {
  static const std::set<std::string> kKinds = {".json", ".jsonl", ".toml",       ".txt",
                                               ".csv",  ".html",  ".safetensors"};
  return size <= kHashedBytes && kKinds.count(file.extension().string()) > 0;
}

void add_file(Sha256& hash, const std::string& name, const fs::path& file, uintmax_t size) {
  hash.update(name).update("\n").update(std::to_string(size)).update("\n");
  if (hashed_whole(file, size)) hash.update(sha256_file(file)).update("\n");
}

std::string processor_field(const char* wanted) {
  std::ifstream in("/proc/cpuinfo");
  std::string line;
  while (std::getline(in, line)) {
    const size_t colon = line.find(':');
    if (colon != std::string::npos && trim(line.substr(0, colon)) == wanted)
      return std::string(trim(std::string_view(line).substr(colon + 1)));
  }
  return "";
}

bool matters(const std::string& flag) {
  return flag == "avx2" || flag.rfind("avx512", 0) == 0 || flag.rfind("amx", 0) == 0 ||
         flag.find("bf16") != std::string::npos;
}

}  // namespace

json hardware_record() {
  json isa = json::array();
  for (const auto& flag : split(processor_field("flags"), ' '))
    if (matters(flag)) isa.push_back(flag);
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  return {{"processor", processor_field("model name")},
          {"cores", std::thread::hardware_concurrency()},
          {"isa", isa},
          {"memory_bytes", pages < 0 ? 0 : int64_t{pages} * ::sysconf(_SC_PAGESIZE)}};
}

json input_record(const fs::path& path) {
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status)) throw DataError(path.string(), "does not exist");
  json record = {{"path", path.string()}};
  Sha256 hash;
  if (!fs::is_directory(status)) {
    const uintmax_t size = fs::file_size(path, error);
    if (error) throw DataError(path.string(), error.message());
    record["kind"] = "file";
    record["bytes"] = size;
    if (size <= kHashedBytes) {
      record["sha256"] = sha256_file(path);
    } else {
      add_file(hash, path.filename().string(), path, size);
      record["sha256"] = hash.hex();
    }
    return record;
  }
  uintmax_t bytes = 0;
  const auto files = files_below(path);
  for (const auto& file : files) {
    const uintmax_t size = fs::file_size(file);
    bytes += size;
    add_file(hash, file.lexically_relative(path).generic_string(), file, size);
  }
  record["kind"] = "directory";
  record["files"] = files.size();
  record["bytes"] = bytes;
  record["sha256"] = hash.hex();
  return record;
}

json run_record(const RunInfo& info) {
  json versions = info.versions;
  versions["parapet"] = version();
  json inputs = json::object();
  for (const auto& [name, path] : info.inputs) inputs[name] = input_record(path);
  return {{"command", info.argv},       {"config", info.resolved_toml},
          {"seed", info.seed},          {"started", utc_text(info.started)},
          {"versions", versions},       {"hardware", hardware_record()},
          {"inputs", std::move(inputs)}};
}

}  // namespace parapet
