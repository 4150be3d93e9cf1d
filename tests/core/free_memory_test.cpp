#include "parapet/core/free_memory.h"

#include <gtest/gtest.h>

#include <vector>

#include "parapet/core/files.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;

// A /proc and /sys of a machine with 8 GiB available.
class FreeMemory : public ::testing::Test {
 protected:
  FreeMemory() {
    put("proc/meminfo",
        "MemTotal:       16000000 kB\nMemFree:  1 kB\nMemAvailable:    8388608 kB\n");
  }
  void put(const std::string& file, const std::string& text) {
    fs::create_directories((folder_.path() / file).parent_path());
    write_file_atomic(folder_.path() / file, text);
  }
  int64_t left() const { return free_memory(folder_.path()); }
  test::TempFolder folder_;
};

constexpr int64_t kGiB = int64_t{1} << 30;

TEST_F(FreeMemory, IsWhatTheKernelCallsAvailable) { EXPECT_EQ(left(), 8 * kGiB); }

TEST_F(FreeMemory, ALimitOfTheControlGroupCountsWithoutItsIdleFilePages) {
  put("proc/self/cgroup", "0::/system.slice/job.scope\n");
  put("sys/fs/cgroup/system.slice/job.scope/memory.max", "4294967296\n");
  put("sys/fs/cgroup/system.slice/job.scope/memory.current", "3221225472\n");
  put("sys/fs/cgroup/system.slice/job.scope/memory.stat",
      "anon 1\nactive_file 7\ninactive_file 1073741824\n");
  EXPECT_EQ(left(), 2 * kGiB);
  // The group around it is tighter.
  put("sys/fs/cgroup/system.slice/memory.max", "3221225472\n");
  put("sys/fs/cgroup/system.slice/memory.current", "3221225472\n");
  EXPECT_EQ(left(), 0);
}

TEST_F(FreeMemory, NoLimitIsNone) {
  put("proc/self/cgroup", "0::/\n");
  put("sys/fs/cgroup/memory.max", "max\n");
  put("sys/fs/cgroup/memory.current", "3221225472\n");
  EXPECT_EQ(left(), 8 * kGiB);
}

TEST_F(FreeMemory, TheFirstVersionOfControlGroups) {
  put("proc/self/cgroup", "9:memory:/docker/abc\n1:name=systemd:/x\n");
  // Inside a container the group's own folder is the root of what can be seen.
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "2147483648\n");
  put("sys/fs/cgroup/memory/memory.usage_in_bytes", "1073741824\n");
  EXPECT_EQ(left(), 1 * kGiB);
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(left(), 8 * kGiB);
}

TEST_F(FreeMemory, UnknownWithoutProc) { EXPECT_EQ(free_memory(folder_.path() / "nowhere"), -1); }

TEST(PeakMemory, GrowsWithWhatIsTouched) {
  const int64_t before = peak_memory();
  ASSERT_GT(before, 0);
  const std::vector<char> touched(static_cast<size_t>(before) + (64 << 20), 1);
  EXPECT_GE(peak_memory(), before + (32 << 20)) << touched.size();
}

}  // namespace
}  // namespace parapet
