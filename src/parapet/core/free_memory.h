// How much memory is left, and how much this process has taken.
#pragma once
#include <cstdint>
#include <filesystem>

namespace parapet {

// Bytes that this process can still take: what the kernel calls available (free pages and pages of
// files that it can drop), or less where the control group of a container or a batch job sets a
// limit. -1 where it cannot be told. `root` is where /proc and /sys lie.
int64_t free_memory(const std::filesystem::path& root = "/");

// What this process holds now (resident), in bytes; -1 where it is not known. Other processes may
// share some of it: libraries, mapped files.
int64_t resident_memory();
// The most memory this process has held at once (resident), in bytes; -1 where it is not known.
int64_t peak_memory();

}  // namespace parapet
