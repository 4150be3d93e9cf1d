// A file for readers that take a path: one per process, in memory where the system has it.
#pragma once
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace parapet::fuzz {

class FuzzFile {
 public:
  explicit FuzzFile(const std::string& name) {
    namespace fs = std::filesystem;
    const fs::path base = fs::exists("/dev/shm") ? "/dev/shm" : fs::temp_directory_path();
    folder_ = base / ("parapet-fuzz-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
    path_ = folder_ / name;
  }
  ~FuzzFile() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  const std::filesystem::path& write(const uint8_t* data, size_t size) const {
    std::ofstream(path_, std::ios::binary)
        .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
    return path_;
  }

 private:
  std::filesystem::path folder_, path_;
};

}  // namespace parapet::fuzz
