// The run record (run.json): what is needed to trace a reported number back to how it was made.
#pragma once
#include <nlohmann/json_fwd.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace parapet {

struct RunInfo {
  std::vector<std::string> argv;
  std::string resolved_toml;  // every option after recipe and flags
  int64_t seed = 0;
  std::map<std::string, std::filesystem::path> inputs;  // name, e.g. "model" -> file or directory
  std::map<std::string, std::string> versions;  // beside Parapet's own, e.g. "torch" -> "2.13.0"
  std::chrono::system_clock::time_point started = std::chrono::system_clock::now();
};

// {command, config, seed, started, versions, hardware, inputs}. DataError when an input is missing.
nlohmann::json run_record(const RunInfo& info);

// {processor, cores, isa[], memory_bytes} of this machine; isa names only what changes numbers or
// speed here (avx2, avx512*, amx*, *bf16).
nlohmann::json hardware_record();

// {path, kind: "file", bytes, sha256} or {path, kind: "directory", files, bytes, sha256}. A file of
// at most 16 MiB has its plain SHA-256. Otherwise the hash covers names and sizes, and in a
// directory the bytes of text files and safetensors of at most 16 MiB: a changed config, list or
// adapter shows, while a 10 GB checkpoint or a million pictures cost no read. DataError when
// missing.
nlohmann::json input_record(const std::filesystem::path& path);

}  // namespace parapet
