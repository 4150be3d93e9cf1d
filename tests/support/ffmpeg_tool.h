// Sounds and videos made by the `ffmpeg` command when a test runs, and what that command reads of
// them.
#pragma once
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "parapet/core/files.h"

namespace parapet::test {

// Runs `ffmpeg ARGUMENTS` in `folder`; throws when it fails. Arguments are shell words.
inline void ffmpeg(const std::filesystem::path& folder, const std::string& arguments) {
  const std::string command =
      "cd '" + folder.string() + "' && ffmpeg -v error -nostdin -y " + arguments + " </dev/null";
  if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
}

// A file of FFmpeg's test sources: `source` as for `-f lavfi -i`, `coding` as for the output.
inline std::filesystem::path make_media(const std::filesystem::path& folder,
                                        const std::string& name, const std::string& source,
                                        const std::string& coding = "") {
  ffmpeg(folder, "-f lavfi -i '" + source + "' " + coding + " '" + name + "'");
  return folder / name;
}

// A file of raw values of one type.
template <class T>
std::vector<T> values_of(const std::filesystem::path& file) {
  const std::string bytes = read_file(file);
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

// What `ffmpeg ARGUMENTS OUT` writes.
template <class T>
std::vector<T> ffmpeg_output(const std::filesystem::path& folder, const std::string& arguments) {
  ffmpeg(folder, arguments + " ffmpeg-output.raw");
  return values_of<T>(folder / "ffmpeg-output.raw");
}

}  // namespace parapet::test
