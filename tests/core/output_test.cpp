// What writing does to a place that is no plain file of default mode.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <future>

#include "parapet/core/error.h"
#include "parapet/core/file_draft.h"
#include "parapet/core/files.h"
#include "support/temp_folder.h"

namespace parapet {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

mode_t mode_of(const fs::path& file) {
  struct stat info {};
  EXPECT_EQ(::lstat(file.c_str(), &info), 0) << file;
  return info.st_mode;
}

int files_in(const fs::path& folder) {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(folder)) ++count;
  return count;
}

TEST(Output, KeepsTheModeOfWhatIsThere) {
  const test::TempFolder folder;
  for (const mode_t mode : {0600, 0640, 0755, 0664}) {
    write_file_atomic(folder / "x", "old");
    ASSERT_EQ(::chmod((folder / "x").c_str(), mode), 0);
    write_file_atomic(folder / "x", "new");
    EXPECT_EQ(mode_of(folder / "x") & 07777, mode);
    EXPECT_EQ(read_file(folder / "x"), "new");
  }
}

TEST(Output, KeepsTheOwnerWherePermitted) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root may give files away";
  const test::TempFolder folder;
  write_file_atomic(folder / "x", "old");
  ASSERT_EQ(::chown((folder / "x").c_str(), 1234, 4321), 0);
  write_file_atomic(folder / "x", "new");
  struct stat info {};
  ASSERT_EQ(::stat((folder / "x").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 1234U);
  EXPECT_EQ(info.st_gid, 4321U);
}

TEST(Output, ANewFileFollowsTheMask) {
  const test::TempFolder folder;
  const mode_t before = ::umask(027);
  write_file_atomic(folder / "x", "new");
  ::umask(before);
  EXPECT_EQ(mode_of(folder / "x") & 07777, 0640U);
}

TEST(Output, ReplacesWhatALinkLeadsTo) {
  const test::TempFolder folder;
  fs::create_directories(folder / "far/away");
  write_file_atomic(folder / "far/away/real", "old");
  ASSERT_EQ(::chmod((folder / "far/away/real").c_str(), 0604), 0);
  fs::create_symlink("away/real", folder / "far/second");
  fs::create_symlink("far/second", folder / "first");
  fs::create_directory_symlink("far", folder / "elsewhere");
  write_file_atomic(folder / "first", "one");
  EXPECT_TRUE(fs::is_symlink(folder / "first"));
  EXPECT_TRUE(fs::is_symlink(folder / "far/second"));
  EXPECT_EQ(read_file(folder / "far/away/real"), "one");
  EXPECT_EQ(mode_of(folder / "far/away/real") & 07777, 0604U);
  write_file_atomic(folder / "elsewhere/second", "two");
  EXPECT_TRUE(fs::is_symlink(folder / "far/second"));
  EXPECT_EQ(read_file(folder / "far/away/real"), "two");
  EXPECT_EQ(files_in(folder / "far/away"), 1);
}

TEST(Output, ADanglingLinkGetsItsFile) {
  const test::TempFolder folder;
  fs::create_directory(folder / "far");
  fs::create_symlink("far/new", folder / "link");
  write_file_atomic(folder / "link", "text");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "far/new"), "text");
  fs::create_symlink("b", folder / "a");
  fs::create_symlink("a", folder / "b");
  EXPECT_THROW(write_file_atomic(folder / "a", "x"), DataError);
  EXPECT_TRUE(fs::is_symlink(folder / "a"));
}

TEST(Output, OtherHardLinksKeepTheOld) {
  const test::TempFolder folder;
  write_file_atomic(folder / "x", "old");
  fs::create_hard_link(folder / "x", folder / "y");
  write_file_atomic(folder / "x", "new");
  EXPECT_EQ(read_file(folder / "x"), "new");
  EXPECT_EQ(read_file(folder / "y"), "old");
}

TEST(Output, WritesIntoAPipe) {
  const test::TempFolder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  auto reader = std::async(std::launch::async, [&] {
    const int fd = ::open((folder / "pipe").c_str(), O_RDONLY);
    std::string text(100, '\0');
    size_t done = 0;
    for (ssize_t n; (n = ::read(fd, text.data() + done, text.size() - done)) > 0;)
      done += static_cast<size_t>(n);
    ::close(fd);
    text.resize(done);
    return text;
  });
  write_file_atomic(folder / "pipe", [](const ByteSink& sink) {
    sink("one ");
    sink("two");
  });
  EXPECT_EQ(reader.get(), "one two");
  EXPECT_TRUE(S_ISFIFO(mode_of(folder / "pipe")));
  EXPECT_EQ(files_in(folder.path()), 1);
}

TEST(Output, WritesIntoDevicesAndDescriptors) {
  const test::TempFolder folder;
  write_file_atomic("/dev/null", "gone");
  EXPECT_TRUE(S_ISCHR(mode_of("/dev/null")));
  fs::create_symlink("/dev/null", folder / "link");
  write_file_atomic(folder / "link", "gone");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_TRUE(S_ISCHR(mode_of("/dev/null")));
  // A descriptor of ours is written to where it stands, though a file lies behind it.
  const int fd = ::open((folder / "log").c_str(), O_WRONLY | O_CREAT, 0644);
  ASSERT_EQ(::write(fd, "begun ", 6), 6);
  write_file_atomic("/dev/fd/" + std::to_string(fd), "and ");
  write_file_atomic("/proc/self/fd/" + std::to_string(fd), "ended");
  ASSERT_EQ(::write(fd, ".", 1), 1);
  ::close(fd);
  EXPECT_EQ(read_file(folder / "log"), "begun and ended.");
  EXPECT_THROW(write_file_atomic("/dev/fd/" + std::to_string(fd), "x"), DataError);
  const int reading = ::open((folder / "log").c_str(), O_RDONLY);
  EXPECT_THROW(write_file_atomic("/dev/fd/" + std::to_string(reading), "x"), DataError);
  ::close(reading);
  EXPECT_THROW((void)FileDraft("/dev/null").path(), UsageError);
}

TEST(Output, NeverReplacesWhatIsNoFile) {
  const test::TempFolder folder;
  fs::create_directory(folder / "d");
  EXPECT_THROW(write_file_atomic(folder / "d", "x"), UsageError);
  EXPECT_THROW(write_file_atomic(folder.path() / "d/", "x"), UsageError);
  EXPECT_THROW(write_file_atomic("", "x"), UsageError);
  EXPECT_TRUE(fs::is_directory(folder / "d"));
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string name = folder / "socket";
  ASSERT_LT(name.size(), sizeof address.sun_path);
  name.copy(address.sun_path, name.size());
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_THROW(write_file_atomic(name, "x"), UsageError);
  EXPECT_TRUE(S_ISSOCK(mode_of(name)));
  ::close(fd);
  // A device by another name, and a disk, where this user may make them.
  const fs::path device = folder / "null", disk = folder / "disk";
  if (::mknod(device.c_str(), S_IFCHR | 0666, makedev(1, 3)) == 0) {
    const int probe = ::open(device.c_str(), O_WRONLY);  // not where the mount forbids devices
    if (probe >= 0) {
      ::close(probe);
      write_file_atomic(device, "gone");
    } else {
      EXPECT_THROW(write_file_atomic(device, "x"), DataError);
    }
    EXPECT_TRUE(S_ISCHR(mode_of(device)));
  }
  if (::mknod(disk.c_str(), S_IFBLK | 0666, makedev(7, 250)) == 0) {
    EXPECT_THROW(write_file_atomic(disk, "x"), UsageError);
    EXPECT_TRUE(S_ISBLK(mode_of(disk)));
  }
}

TEST(Output, CopiesThroughTheSameWriter) {
  const test::TempFolder folder;
  write_file_atomic(folder / "from", std::string(3'000'000, 'a'));
  write_file_atomic(folder / "real", "old");
  fs::create_symlink("real", folder / "to");
  copy_file_atomic(folder / "from", folder / "to");
  EXPECT_TRUE(fs::is_symlink(folder / "to"));
  EXPECT_EQ(read_file(folder / "real").size(), 3'000'000U);
  EXPECT_THROW(copy_file_atomic(folder / "none", folder / "to"), DataError);
}

}  // namespace
}  // namespace parapet
